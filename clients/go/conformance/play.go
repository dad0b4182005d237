// What each operation of a scenario does with the client, and what the workers of scenarios do.

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	motet "motet.dev/go"
	motetv1 "motet.dev/go/motet/v1"
)

// patience is how long a worker may take to be welcomed, and to leave.
const patience = 10 * time.Second

type player struct {
	*scenario
	client  *motet.Client
	address string
	found   map[string]any
}

// play leaves what it found in found. A failed call is its error.
func (p *player) play(ctx context.Context) error {
	request := &motetv1.RunRequest{}
	if len(p.Request) > 0 {
		if err := protojson.Unmarshal(p.Request, request); err != nil {
			return err
		}
	}
	if p.Operation == "worker" {
		return p.withWorker(ctx, request)
	}
	if p.DeadlineMS > 0 {
		bounded, cancel := context.WithTimeout(ctx, time.Duration(p.DeadlineMS)*time.Millisecond)
		defer cancel()
		ctx = bounded
	}
	switch p.Operation {
	case "run":
		result, err := p.client.Run(ctx, request)
		return errors.Join(err, p.keep("response", &motetv1.RunResponse{Result: result}), p.keep("result", result))
	case "stream":
		return p.stream(ctx, request)
	case "start_and_watch", "watch_resume", "cancel_run":
		return p.background(ctx, request)
	case "map":
		return p.mapped(ctx, request)
	case "get_missing":
		_, err := p.client.Get(ctx, "run_missing")
		return err
	case "list_agents":
		agents, err := p.client.Agents(ctx)
		return errors.Join(err, p.keep("response", &motetv1.ListAgentsResponse{Agents: agents}))
	}
	return fmt.Errorf("no operation is called %q", p.Operation)
}

func (p *player) stream(ctx context.Context, request *motetv1.RunRequest) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream := p.client.Stream(ctx, request)
	err := p.events(stream, func(kind string, _ int) bool {
		if kind == p.Abort.Event {
			cancel()
		}
		return true
	})
	return errors.Join(err, p.keep("result", stream.Result))
}

func (p *player) background(ctx context.Context, request *motetv1.RunRequest) error {
	started, err := p.client.Start(ctx, request)
	if err = errors.Join(err, p.keep("response", started)); err != nil {
		return err
	}
	var last int64
	stream := p.client.Watch(ctx, started.RunId, 0)
	err = p.events(stream, func(kind string, seen int) bool {
		last = int64(seen)
		return kind != p.Cancel.Event && seen != p.Break
	})
	switch {
	case err != nil:
		return err
	case p.Operation == "cancel_run":
		run, err := p.client.Cancel(ctx, started.RunId)
		response := &motetv1.CancelRunResponse{Run: run}
		return errors.Join(err, p.keep("response", response), p.keep("result", run.GetResult()))
	case p.Operation == "watch_resume":
		stream = p.client.Watch(ctx, started.RunId, last)
		err = p.events(stream, func(string, int) bool { return true })
	}
	return errors.Join(err, p.keep("result", stream.Result))
}

// events keeps the events, and leaves the loop when more says so of a kind and the number of events so far.
func (p *player) events(stream *motet.Stream, more func(kind string, seen int) bool) error {
	kept, _ := p.found["events"].([]any)
	for event, err := range stream.Events() {
		if err != nil {
			return err
		}
		form, err := formed(event)
		if err != nil {
			return err
		}
		kept = append(kept, form)
		p.found["events"] = kept
		if !more(kindOf(form), len(kept)) {
			break
		}
	}
	return nil
}

func (p *player) mapped(ctx context.Context, request *motetv1.RunRequest) error {
	inputs := func(yield func(*motetv1.MapInput) bool) {
		for index, text := range p.Inputs {
			if !yield(&motetv1.MapInput{Id: strconv.Itoa(index), Input: motet.Text(text)}) {
				return
			}
		}
	}
	answers := []any{}
	for answer, err := range p.client.Map(ctx, request, 0, inputs) {
		if err != nil {
			return err
		}
		told := map[string]any{"key": answer.Id}
		if answer.Result.GetOutput() != nil {
			output, err := formed(answer.Result.Output)
			if err != nil {
				return err
			}
			told["output"] = output
		}
		answers = append(answers, told)
	}
	p.found["answers"] = answers
	return nil
}

func (p *player) withWorker(ctx context.Context, request *motetv1.RunRequest) error {
	worker := motet.NewWorker(p.address)
	worker.Capacity = p.Worker.Capacity
	if p.Worker.Behaviour == "stubborn" {
		worker.Grace = 200 * time.Millisecond
	}
	agent := &motetv1.WorkerAgent{Name: p.Worker.Agent, Capacity: p.Worker.Capacity, ReplaySafe: true}
	worker.Handle(agent, behaviours[p.Worker.Behaviour])
	welcomed, ended := make(chan int64, 1), make(chan error, 1)
	worker.OnConnect = func(epoch int64) { welcomed <- epoch }
	go func() { ended <- worker.Run(ctx) }()
	select {
	case <-welcomed:
	case err := <-ended:
		return fmt.Errorf("the worker was not welcomed: %v", err)
	case <-time.After(patience):
		return errors.New("the worker was not welcomed in time")
	}
	played := p.stream(ctx, request)
	worker.Drain()
	select {
	case err := <-ended:
		if err != nil {
			return fmt.Errorf("the worker did not leave in good order: %v", err)
		}
	case <-time.After(patience):
		return errors.New("the worker did not leave in time")
	}
	return played
}

var behaviours = map[string]motet.Func{
	"upper": upper,
	"fail": func(context.Context, *motet.Call) (any, error) {
		return nil, &motet.Error{Reason: "WORKER_REFUSES", Message: "the worker refuses"}
	},
	"slow": func(ctx context.Context, call *motet.Call) (any, error) {
		seconds, err := strconv.ParseFloat(call.Input.GetText()+call.Input.GetJson(), 64)
		if err != nil {
			seconds = 30
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Duration(seconds * float64(time.Second))):
			return upper(ctx, call)
		}
	},
	"progress": func(ctx context.Context, call *motet.Call) (any, error) {
		for step := 1; step <= 3; step++ {
			if err := call.Report(map[string]int{"step": step}); err != nil {
				return nil, err
			}
		}
		return upper(ctx, call)
	},
	"stubborn": func(ctx context.Context, call *motet.Call) (any, error) {
		time.Sleep(3 * time.Second)
		return upper(ctx, call)
	},
}

func upper(_ context.Context, call *motet.Call) (any, error) {
	return strings.ToUpper(call.Input.GetText()), nil
}

// keep puts a message under a name, when it is there.
func (p *player) keep(name string, message proto.Message) error {
	if message == nil || !message.ProtoReflect().IsValid() {
		return nil
	}
	form, err := formed(message)
	p.found[name] = form
	return err
}

// formed is a message in the JSON form of protobuf.
func formed(message proto.Message) (form map[string]any, err error) {
	text, err := protojson.Marshal(message)
	if err == nil {
		err = json.Unmarshal(text, &form)
	}
	return form, err
}

func formOf(failed *motet.Error) map[string]any {
	fields := []any{}
	for _, violation := range failed.Violations {
		fields = append(fields, violation.Field)
	}
	return map[string]any{
		"code": code.Code(failed.Code).String(), "reason": failed.Reason, "message": failed.Message, "fields": fields,
	}
}
