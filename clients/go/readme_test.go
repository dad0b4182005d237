// What the README promises is done.

package motet_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

func TestTheProgramsOfTheReadmeRun(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds two programs")
	}
	address := served(t)
	text, err := os.ReadFile("README.md")
	must(t, err)
	programs := regexp.MustCompile("(?s)```go\n(package main.*?)```").FindAllStringSubmatch(string(text), -1)
	equal(t, len(programs), 2, "programs")
	built := make([]string, len(programs))
	for index, program := range programs {
		folder := t.TempDir()
		source := filepath.Join(folder, "main.go")
		must(t, os.WriteFile(source, []byte(strings.ReplaceAll(program[1], "127.0.0.1:50061", address)), 0o600))
		built[index] = filepath.Join(folder, "program")
		output, err := exec.Command("go", "build", "-o", built[index], source).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
	}
	worker := exec.Command(built[1])
	worker.Stderr = os.Stderr
	must(t, worker.Start())
	output, err := exec.Command(built[0]).CombinedOutput()
	if err != nil || !strings.HasSuffix(string(output), "HELLO <nil>\n") {
		t.Errorf("%v\n%s", err, output)
	}
	if strings.Count(string(output), "\n") < 6 {
		t.Errorf("too few events:\n%s", output)
	}
	must(t, worker.Process.Signal(syscall.SIGTERM))
	must(t, worker.Wait())
}

// The license goes with the module, whose files are published without the rest of the repository.
func TestTheLicenseIsTheRepositorys(t *testing.T) {
	text, err := os.ReadFile("LICENSE")
	must(t, err)
	whole, err := os.ReadFile("../../LICENSE")
	if err != nil {
		t.Skip("the repository's license is not here")
	}
	equal(t, string(text), string(whole), "license")
}
