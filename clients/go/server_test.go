// The client and the worker against a real server: the program motet, from MOTET_BIN or the PATH.

package motet_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	motet "motet.dev/go"
	motetv1 "motet.dev/go/motet/v1"
)

const catalog = `
[agents.copy]
kind = "command"
argv = ["cat"]

[agents.wait]
kind = "command"
argv = ["sleep", "60"]

[agents.shout]
kind = "remote"
queue_timeout = "10s"

[groups.copies]
members = ["copy", { agent = "copy", name = "again" }]

[groups.waits]
members = ["copy", "wait"]

[groups.loud]
members = ["shout"]
aggregation = { name = "first" }
`

// served starts a server for the test and gives its address.
func served(t *testing.T) string {
	t.Helper()
	program := os.Getenv("MOTET_BIN")
	if program == "" {
		found, err := exec.LookPath("motet")
		if err != nil {
			t.Skip("no program motet in the PATH, and MOTET_BIN is not set")
		}
		program = found
	}
	folder := t.TempDir()
	file, port := filepath.Join(folder, "catalog.toml"), filepath.Join(folder, "port")
	must(t, os.WriteFile(file, []byte(catalog), 0o600))
	server := exec.Command(program, "serve", file, "--address", "127.0.0.1:0", "--grace", "5s", "--port-file", port)
	server.Stdout, server.Stderr = os.Stderr, os.Stderr
	must(t, server.Start())
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	t.Cleanup(func() {
		must(t, server.Process.Signal(syscall.SIGTERM))
		select {
		case <-ended:
		case <-time.After(bounded):
			t.Error("the server did not end")
			must(t, server.Process.Kill())
		}
	})
	for limit := time.Now().Add(2 * bounded); time.Now().Before(limit); time.Sleep(20 * time.Millisecond) {
		if address, err := os.ReadFile(port); err == nil && len(address) > 0 {
			return strings.TrimSpace(string(address))
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the server ended: %v", err)
		default:
		}
	}
	t.Fatal("the server was not ready in time")
	return ""
}

func TestAgainstARealServer(t *testing.T) {
	address := served(t)
	for name, test := range map[string]func(*testing.T, *motet.Client){
		"a run has a result":                       runs,
		"a stream has events and a result":         streams,
		"a run in the background is watched":       startsAndWatches,
		"a cancelled run has receipts":             cancels,
		"a run's timeout keeps what was finished":  timesOut,
		"inputs are mapped":                        maps,
		"a wrong request names the field":          refuses,
		"what is not there is not found":           misses,
		"agents and limits are listed":             lists,
		"a worker serves an agent and its reports": func(t *testing.T, c *motet.Client) { serves(t, c, address) },
	} {
		t.Run(name, func(t *testing.T) { test(t, newClient(t, address)) })
	}
}

func runs(t *testing.T, client *motet.Client) {
	result, err := client.Run(t.Context(), motet.Group("copies", motet.Text("hello")))
	must(t, err)
	output, err := motet.Answer(result)
	must(t, err)
	equal(t, output.GetJson(), `{"combined_results":["hello","hello"],"result_count":2}`, "output")
	equal(t, result.Groups[0].Outcomes[1].Member, "again", "second member")
}

func streams(t *testing.T, client *motet.Client) {
	stream := client.Stream(t.Context(), motet.Group("copies", motet.Text("hello")))
	numbers, err := sequences(stream)
	must(t, err)
	for index, number := range numbers {
		equal(t, number, int64(index+1), "sequence")
	}
	equal(t, stream.Result.GetState(), motetv1.State_STATE_SUCCEEDED, "state")
	equal(t, stream.RunID, stream.Result.RunId, "run id")
}

func startsAndWatches(t *testing.T, client *motet.Client) {
	request := motet.Group("copies", motet.Text("hello"))
	request.RequestId = t.Name()
	request.Labels = map[string]string{"test": "watch"}
	first, err := client.Start(t.Context(), request)
	must(t, err)
	again, err := client.Start(t.Context(), request)
	must(t, err)
	equal(t, again.RunId, first.RunId, "run of the same request id")
	equal(t, again.Existing, true, "existing")
	last := int64(0)
	for event, err := range client.Watch(t.Context(), first.RunId, 0).Events() {
		must(t, err)
		if last = event.Sequence; last == 2 {
			break
		}
	}
	stream := client.Watch(t.Context(), first.RunId, last)
	numbers, err := sequences(stream)
	must(t, err)
	equal(t, numbers[0], 3, "first event after the cursor")
	run, err := client.Get(t.Context(), first.RunId)
	must(t, err)
	equal(t, run.Result.GetState(), stream.Result.GetState(), "state")
	found := 0
	for run, err := range client.List(t.Context(), &motetv1.ListRunsRequest{Labels: request.Labels, PageSize: 1}) {
		must(t, err)
		equal(t, run.RunId, first.RunId, "run")
		found++
	}
	equal(t, found, 1, "runs with the label")
}

func cancels(t *testing.T, client *motet.Client) {
	started, err := client.Start(t.Context(), motet.Group("waits", motet.Text("hello")))
	must(t, err)
	for event, err := range client.Watch(t.Context(), started.RunId, 0).Events() {
		must(t, err)
		if event.Member == "wait" && event.GetMemberStarted() != nil {
			break
		}
	}
	run, err := client.Cancel(t.Context(), started.RunId)
	must(t, err)
	equal(t, run.State, motetv1.State_STATE_CANCELLED, "state")
	outcome := run.Result.Groups[0].Outcomes[1]
	equal(t, outcome.Stop.GetKind(), motetv1.StopReceipt_KIND_STOPPED, "receipt")
}

func timesOut(t *testing.T, client *motet.Client) {
	request := motet.Group("waits", motet.Text("hello"))
	request.Timeout = durationpb.New(2 * time.Second)
	result, err := client.Run(t.Context(), request)
	must(t, err)
	output, err := motet.Answer(result)
	must(t, err)
	equal(t, output.GetJson(), `{"combined_results":["hello"],"result_count":1}`, "output")
	equal(t, result.Groups[0].Outcomes[1].State, motetv1.State_STATE_TIMED_OUT, "state")
}

func maps(t *testing.T, client *motet.Client) {
	found := map[string]string{}
	for answer, err := range client.Map(t.Context(), motet.Group("copies", nil), 2, inputs("a", "b", "c")) {
		must(t, err)
		found[answer.Id] = answer.Result.GetOutput().GetJson()
	}
	equal(t, len(found), 3, "answers")
	equal(t, found["b"], `{"combined_results":["b","b"],"result_count":2}`, "answer")
}

func refuses(t *testing.T, client *motet.Client) {
	_, err := client.Run(t.Context(), motet.Plan(&motetv1.Plan{Node: &motetv1.Plan_Group{Group: &motetv1.Group{
		Name: "mine", Members: []*motetv1.Member{{Agent: "copy", Timeout: durationpb.New(-time.Second)}},
	}}}, motet.Text("hello")))
	failed := (*motet.Error)(nil)
	if !errors.As(err, &failed) || !errors.Is(err, motet.ErrInvalidArgument) || len(failed.Violations) != 1 {
		t.Fatalf("found %v", err)
	}
	equal(t, failed.Violations[0].Field, "plan.group.members[0].timeout", "field")
}

func misses(t *testing.T, client *motet.Client) {
	_, err := client.Get(t.Context(), "run_missing")
	equal(t, errors.Is(err, motet.ErrNotFound), true, fmt.Sprint(err))
	equal(t, errors.Is(err, &motet.Error{Reason: "RUN_NOT_FOUND"}), true, fmt.Sprint(err))
}

func lists(t *testing.T, client *motet.Client) {
	agents, err := client.Agents(t.Context())
	must(t, err)
	equal(t, agents[0].Name, "copy", "first agent")
	limits, err := client.Limits(t.Context(), "")
	must(t, err)
	equal(t, limits.Waiting, 0, "waiting")
}

func serves(t *testing.T, client *motet.Client, address string) {
	worker := motet.NewWorker(address)
	worker.Handle(&motetv1.WorkerAgent{Name: "shout", Capacity: 2}, func(ctx context.Context, call *motet.Call) (any, error) {
		if err := call.Report(map[string]string{"heard": call.Input.GetText()}); err != nil {
			return nil, err
		}
		if call.Input.GetText() == "wait" {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return upper(ctx, call)
	})
	ended := running(t, worker)
	stream := client.Stream(t.Context(), motet.Group("loud", motet.Text("hello")))
	reported := ""
	for event, err := range stream.Events() {
		must(t, err)
		reported += event.GetMemberProgress().GetReport().GetJson()
	}
	equal(t, reported, `{"heard":"hello"}`, "report")
	equal(t, stream.Result.GetOutput().GetText(), "HELLO", "output")

	late := motet.Group("loud", motet.Text("wait"))
	late.Timeout = durationpb.New(time.Second)
	result, err := client.Run(t.Context(), late)
	must(t, err)
	outcome := result.Groups[0].Outcomes[0]
	equal(t, outcome.State, motetv1.State_STATE_TIMED_OUT, "state")
	equal(t, outcome.Stop.GetKind(), motetv1.StopReceipt_KIND_STOPPED, "receipt")

	worker.Drain()
	must(t, receive(t, ended, "the end of the worker"))
}
