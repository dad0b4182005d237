// Command gen writes the generated Go of proto/ into motet/v1, or checks that it is up to date. It compiles the protos
// itself, so that nothing but Go is needed; the plugins that write the code are pinned by this folder's go.mod.
//
// The rules of buf.validate are left out: the server checks them, and a second copy of their Go package in a program
// would panic at its start.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

const rules = "buf/validate/validate.proto"

var plugins = map[string]string{
	"google.golang.org/protobuf/cmd/protoc-gen-go":  "module=motet.dev/go",
	"google.golang.org/grpc/cmd/protoc-gen-go-grpc": "module=motet.dev/go",
}

func main() {
	log.SetFlags(0)
	protos := flag.String("protos", "../../../../proto", "folder of the contract")
	target := flag.String("out", "../..", "folder of the module motet.dev/go")
	check := flag.Bool("check", false, "fail when the kept files are not what the plugins write now")
	flag.Parse()
	if err := run(*protos, *target, *check); err != nil {
		log.Fatal(err)
	}
}

func run(protos, target string, check bool) error {
	fresh, err := generate(protos)
	if err != nil {
		return err
	}
	kept, err := filepath.Glob(filepath.Join(target, "motet/v1/*.pb.go"))
	if err != nil {
		return err
	}
	var stale []string
	for _, path := range kept {
		name, err := filepath.Rel(target, path)
		if err != nil {
			return err
		}
		if _, found := fresh[filepath.ToSlash(name)]; found {
			continue
		}
		if stale = append(stale, name); !check {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(fresh)) {
		path := filepath.Join(target, name)
		old, err := os.ReadFile(path)
		if err == nil && bytes.Equal(old, fresh[name]) {
			continue
		}
		if stale = append(stale, name); !check {
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, fresh[name], 0o644)); err != nil {
				return err
			}
		}
	}
	if check && len(stale) > 0 {
		return fmt.Errorf("generated Go is out of date, run clients/go/generate.sh:\n  %s", strings.Join(stale, "\n  "))
	}
	return nil
}

// generate gives the files by their path in the module.
func generate(protos string) (map[string][]byte, error) {
	request, err := compile(protos)
	if err != nil {
		return nil, err
	}
	programs, err := os.MkdirTemp("", "motet-gen-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(programs)
	files := map[string][]byte{}
	for plugin, parameter := range plugins {
		request.Parameter = proto.String(parameter)
		response, err := ask(programs, plugin, request)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", plugin, err)
		}
		for _, file := range response.File {
			files[file.GetName()] = []byte(file.GetContent())
		}
	}
	return files, nil
}

// compile gives what protoc would hand to its plugins, without the rules.
func compile(protos string) (*pluginpb.CodeGeneratorRequest, error) {
	paths, err := filepath.Glob(filepath.Join(protos, "motet/v1/*.proto"))
	if err != nil || len(paths) == 0 {
		return nil, fmt.Errorf("no protos in %s: %w", protos, errors.Join(err, os.ErrNotExist))
	}
	names := make([]string, len(paths))
	for index, path := range paths {
		names[index] = "motet/v1/" + filepath.Base(path)
	}
	sources := &protocompile.SourceResolver{ImportPaths: []string{protos}}
	known := protocompile.ResolverFunc(func(path string) (protocompile.SearchResult, error) {
		if path == rules {
			return protocompile.SearchResult{Desc: validate.File_buf_validate_validate_proto}, nil
		}
		return protocompile.SearchResult{}, os.ErrNotExist
	})
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(protocompile.CompositeResolver{sources, known}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	compiled, err := compiler.Compile(context.Background(), names...)
	if err != nil {
		return nil, err
	}
	request := &pluginpb.CodeGeneratorRequest{FileToGenerate: names}
	seen := map[string]bool{rules: true}
	var add func(file protoreflect.FileDescriptor)
	add = func(file protoreflect.FileDescriptor) {
		if seen[file.Path()] {
			return
		}
		seen[file.Path()] = true
		for index := range file.Imports().Len() {
			add(file.Imports().Get(index).FileDescriptor)
		}
		request.ProtoFile = append(request.ProtoFile, withoutRules(protodesc.ToFileDescriptorProto(file)))
	}
	for _, file := range compiled {
		add(file)
	}
	return request, nil
}

func withoutRules(file *descriptorpb.FileDescriptorProto) *descriptorpb.FileDescriptorProto {
	file.Dependency = slices.DeleteFunc(file.Dependency, func(name string) bool { return name == rules })
	strip(file.ProtoReflect())
	return file
}

// strip drops extensions of options, and options that are empty then.
func strip(message protoreflect.Message) {
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsExtension():
			message.Clear(field)
		case field.Message() == nil || field.IsMap():
		case field.IsList():
			for index := range value.List().Len() {
				strip(value.List().Get(index).Message())
			}
		default:
			strip(value.Message())
			if field.Name() == "options" && proto.Size(value.Message().Interface()) == 0 {
				message.Clear(field)
			}
		}
		return true
	})
}

func ask(programs, plugin string, request *pluginpb.CodeGeneratorRequest) (*pluginpb.CodeGeneratorResponse, error) {
	program := filepath.Join(programs, filepath.Base(plugin))
	build := exec.Command("go", "build", "-o", program, plugin)
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return nil, err
	}
	message, err := proto.Marshal(request)
	if err != nil {
		return nil, err
	}
	plug := exec.Command(program)
	plug.Stdin, plug.Stderr = bytes.NewReader(message), os.Stderr
	answer, err := plug.Output()
	if err != nil {
		return nil, err
	}
	response := &pluginpb.CodeGeneratorResponse{}
	if err := proto.Unmarshal(answer, response); err != nil {
		return nil, err
	}
	if response.Error != nil {
		return nil, errors.New(response.GetError())
	}
	return response, nil
}
