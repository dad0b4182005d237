// Calls, errors, retries and lists against a server of the tests' own.

package motet_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	motet "motet.dev/go"
	motetv1 "motet.dev/go/motet/v1"
)

func TestAnErrorHasCodeReasonViolationsAndWhenToComeBack(t *testing.T) {
	server := (&fake{run: func(context.Context, *motetv1.RunRequest) (*motetv1.RunResponse, error) {
		return nil, detailed(codes.ResourceExhausted, "tenant a has had its calls",
			&errdetails.ErrorInfo{Reason: "QUOTA_EXCEEDED", Metadata: map[string]string{"window": "day"}},
			&errdetails.QuotaFailure{Violations: []*errdetails.QuotaFailure_Violation{{Subject: "a", Description: "100 calls"}}},
			&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "tenant", Description: "spent"}}},
			&errdetails.RetryInfo{RetryDelay: durationpb.New(90 * time.Second)},
		)
	}}).start(t, nil)
	_, err := server.client(t).Run(t.Context(), motet.Group("panel", motet.Text("x")))
	failed := (*motet.Error)(nil)
	if !errors.As(err, &failed) {
		t.Fatalf("found %v", err)
	}
	equal(t, failed.Code, codes.ResourceExhausted, "code")
	equal(t, failed.Reason, "QUOTA_EXCEEDED", "reason")
	equal(t, failed.Message, "tenant a has had its calls", "message")
	equal(t, failed.RetryAfter, 90*time.Second, "retry after")
	equal(t, failed.Retryable, true, "retryable")
	equal(t, failed.Metadata["window"], "day", "metadata")
	equal(t, len(failed.Violations), 2, "violations")
	equal(t, failed.Violations[0], motet.Violation{Field: "a", Message: "100 calls"}, "violation")
	equal(t, errors.Is(err, motet.ErrResourceExhausted), true, "is exhausted")
	equal(t, errors.Is(err, &motet.Error{Reason: "QUOTA_EXCEEDED"}), true, "is of the reason")
	equal(t, errors.Is(err, motet.ErrNotFound), false, "is not found")
	equal(t, status.Code(err), codes.ResourceExhausted, "status of gRPC")
}

func TestAnErrorWithoutDetailsHasItsCodeAsReason(t *testing.T) {
	server := (&fake{get: func(context.Context, *motetv1.GetRunRequest) (*motetv1.GetRunResponse, error) {
		return nil, status.Error(codes.FailedPrecondition, "no")
	}}).start(t, nil)
	_, err := server.client(t).Get(t.Context(), "run-1")
	equal(t, errors.Is(err, &motet.Error{Code: codes.FailedPrecondition, Reason: "FAILED_PRECONDITION"}), true, err.Error())
}

func TestAnAnswerIsTheOutputOrTheFailureOfTheRun(t *testing.T) {
	output, err := motet.Answer(succeeded("yes"))
	must(t, err)
	equal(t, output.GetText(), "yes", "output")
	_, err = motet.Answer(&motetv1.RunResult{
		State:   motetv1.State_STATE_FAILED,
		Failure: &motetv1.Failure{Reason: "GROUP_FAILED", Message: "no answer"},
	})
	equal(t, err.Error(), "GROUP_FAILED: no answer", "error")
}

func TestReadsAndRunsWithAKeyAreRepeatedAndNothingElse(t *testing.T) {
	server := &fake{}
	once := func() error {
		if server.calls.Load() < 3 {
			return away
		}
		return nil
	}
	server.get = func(context.Context, *motetv1.GetRunRequest) (*motetv1.GetRunResponse, error) {
		return &motetv1.GetRunResponse{Run: &motetv1.Run{RunId: "run-1"}}, once()
	}
	server.run = func(context.Context, *motetv1.RunRequest) (*motetv1.RunResponse, error) {
		return &motetv1.RunResponse{Result: succeeded("yes")}, once()
	}
	server.cancel = func(context.Context, *motetv1.CancelRunRequest) (*motetv1.CancelRunResponse, error) {
		return &motetv1.CancelRunResponse{}, once()
	}
	client := server.start(t, nil).client(t)

	run, err := client.Get(t.Context(), "run-1")
	must(t, err)
	equal(t, run.RunId, "run-1", "run id")
	equal(t, server.calls.Swap(0), 3, "calls of a read")

	keyed := motet.Group("panel", motet.Text("x"))
	keyed.RequestId = "key"
	_, err = client.Run(t.Context(), keyed)
	must(t, err)
	equal(t, server.calls.Swap(0), 3, "calls of a run with a key")

	_, err = client.Run(t.Context(), motet.Group("panel", motet.Text("x")))
	equal(t, errors.Is(err, motet.ErrUnavailable), true, "a run without a key fails")
	equal(t, server.calls.Swap(0), 1, "calls of a run without a key")

	_, err = client.Cancel(t.Context(), "run-1")
	equal(t, errors.Is(err, motet.ErrUnavailable), true, "a cancel fails")
	equal(t, server.calls.Swap(0), 1, "calls of a cancel")
}

func TestACallIsNotRepeatedForAServerThatWantsToBeLeftAlone(t *testing.T) {
	server := (&fake{get: func(context.Context, *motetv1.GetRunRequest) (*motetv1.GetRunResponse, error) {
		return nil, detailed(codes.Unavailable, "draining", &errdetails.RetryInfo{RetryDelay: durationpb.New(time.Hour)})
	}}).start(t, nil)
	_, err := server.client(t).Get(t.Context(), "run-1")
	equal(t, errors.Is(err, motet.ErrUnavailable), true, "fails")
	equal(t, server.calls.Load(), 1, "calls")
}

func TestTheDeadlineOfTheContextIsTheCallsAndATimeoutBoundsItToo(t *testing.T) {
	left := make(chan time.Duration, 1)
	server := (&fake{run: func(ctx context.Context, _ *motetv1.RunRequest) (*motetv1.RunResponse, error) {
		deadline, _ := ctx.Deadline()
		left <- time.Until(deadline)
		return &motetv1.RunResponse{}, nil
	}}).start(t, nil)
	client := server.client(t)
	request := motet.Group("panel", nil)
	request.Timeout = durationpb.New(100 * time.Second)

	_, err := client.Run(t.Context(), request)
	must(t, err)
	if found := <-left; found <= 100*time.Second || found > 105*time.Second {
		t.Fatalf("with a timeout of 100 s the call has %v", found)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
	defer cancel()
	_, err = client.Run(ctx, request)
	must(t, err)
	if found := <-left; found > 50*time.Second {
		t.Fatalf("with a context of 50 s the call has %v", found)
	}
}

func TestTheEndOfTheContextCancelsTheCallOnTheServer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	server := (&fake{run: func(ctx context.Context, _ *motetv1.RunRequest) (*motetv1.RunResponse, error) {
		cancel()
		<-ctx.Done()
		stopped <- ctx.Err()
		return nil, ctx.Err()
	}}).start(t, nil)
	_, err := server.client(t).Run(ctx, motet.Group("panel", nil))
	equal(t, errors.Is(err, context.Canceled), true, "the error is that of the context")
	equal(t, receive(t, stopped, "the end on the server"), context.Canceled, "on the server")
}

func TestTheTokenMetadataAndDepthGoWithEachCall(t *testing.T) {
	t.Setenv("MOTET_DEPTH", "3")
	sent := make(chan metadata.MD, 1)
	server := (&fake{get: func(ctx context.Context, _ *motetv1.GetRunRequest) (*motetv1.GetRunResponse, error) {
		given, _ := metadata.FromIncomingContext(ctx)
		sent <- given
		return &motetv1.GetRunResponse{}, nil
	}}).start(t, nil)
	client := server.client(t, motet.WithToken("secret"), motet.WithMetadata("team", "blue"))
	_, err := client.Get(t.Context(), "run-1")
	must(t, err)
	given := <-sent
	equal(t, given.Get("authorization")[0], "Bearer secret", "token")
	equal(t, given.Get("team")[0], "blue", "metadata")
	equal(t, given.Get("motet-depth")[0], "3", "depth")

	_, err = client.Get(metadata.AppendToOutgoingContext(t.Context(), "motet-depth", "5"), "run-1")
	must(t, err)
	given = <-sent
	equal(t, len(given.Get("motet-depth")), 1, "depths")
	equal(t, given.Get("motet-depth")[0], "5", "depth of the context")
}

func TestAListFetchesPagesAsTheyAreNeeded(t *testing.T) {
	server := (&fake{list: func(_ context.Context, in *motetv1.ListRunsRequest) (*motetv1.ListRunsResponse, error) {
		if in.PageSize != 2 {
			return nil, status.Errorf(codes.InvalidArgument, "page_size: %d", in.PageSize)
		}
		pages := map[string]*motetv1.ListRunsResponse{
			"":  {Runs: []*motetv1.Run{{RunId: "a"}, {RunId: "b"}}, NextPageToken: "2"},
			"2": {Runs: []*motetv1.Run{{RunId: "c"}}},
		}
		return pages[in.PageToken], nil
	}}).start(t, nil)
	client := server.client(t)
	request := &motetv1.ListRunsRequest{PageSize: 2}
	names := ""
	for run, err := range client.List(t.Context(), request) {
		must(t, err)
		names += run.RunId
	}
	equal(t, names, "abc", "runs")
	equal(t, request.PageToken, "", "the request is left as it was")
	server.calls.Store(0)
	for _, err := range client.List(t.Context(), request) {
		must(t, err)
		break
	}
	equal(t, server.calls.Load(), 1, "pages")
	for _, err := range client.List(t.Context(), nil) {
		equal(t, errors.Is(err, motet.ErrInvalidArgument), true, "an error is given")
	}
}

func TestValuesBecomePayloads(t *testing.T) {
	for name, value := range map[string]any{"text": "ä", "json": map[string]any{"n": 1}, "bytes": []byte{0xff}} {
		made, err := motet.Encode(value)
		must(t, err)
		equal(t, made.GetText() == "ä", name == "text", "text of "+name)
		equal(t, made.GetJson() == `{"n":1}`, name == "json", "JSON of "+name)
		equal(t, string(made.GetData()) == "\xff", name == "bytes", "bytes of "+name)
	}
	given := motet.Text("as it is")
	made, err := motet.Encode(given)
	must(t, err)
	equal(t, made, given, "a payload")
	for _, wrong := range []any{"\xff", make(chan int)} {
		_, err := motet.Encode(wrong)
		equal(t, errors.Is(err, motet.ErrInvalidArgument), true, "what has no form is refused")
	}
}
