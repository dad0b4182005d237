// A server whose answers the tests write themselves.

package motet_test

import (
	"context"
	"crypto/tls"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	motet "motet.dev/go"
	motetv1 "motet.dev/go/motet/v1"
)

// bounded is how long a condition may take to come true; tests never wait for it when all is well.
const bounded = 20 * time.Second

type fake struct {
	motetv1.UnimplementedRunServiceServer
	motetv1.UnimplementedWorkerServiceServer
	address string
	calls   atomic.Int32

	run    func(context.Context, *motetv1.RunRequest) (*motetv1.RunResponse, error)
	get    func(context.Context, *motetv1.GetRunRequest) (*motetv1.GetRunResponse, error)
	list   func(context.Context, *motetv1.ListRunsRequest) (*motetv1.ListRunsResponse, error)
	cancel func(context.Context, *motetv1.CancelRunRequest) (*motetv1.CancelRunResponse, error)
	stream func(*motetv1.StreamRunRequest, grpc.ServerStreamingServer[motetv1.StreamRunResponse]) error
	watch  func(*motetv1.WatchRunRequest, grpc.ServerStreamingServer[motetv1.WatchRunResponse]) error
	mapped func(grpc.BidiStreamingServer[motetv1.MapRunRequest, motetv1.MapRunResponse]) error
	serve  func(grpc.BidiStreamingServer[motetv1.WorkerMessage, motetv1.EngineMessage]) error
}

func (f *fake) Run(ctx context.Context, in *motetv1.RunRequest) (*motetv1.RunResponse, error) {
	f.calls.Add(1)
	return f.run(ctx, in)
}

func (f *fake) GetRun(ctx context.Context, in *motetv1.GetRunRequest) (*motetv1.GetRunResponse, error) {
	f.calls.Add(1)
	return f.get(ctx, in)
}

func (f *fake) ListRuns(ctx context.Context, in *motetv1.ListRunsRequest) (*motetv1.ListRunsResponse, error) {
	f.calls.Add(1)
	return f.list(ctx, in)
}

func (f *fake) CancelRun(ctx context.Context, in *motetv1.CancelRunRequest) (*motetv1.CancelRunResponse, error) {
	f.calls.Add(1)
	return f.cancel(ctx, in)
}

func (f *fake) StreamRun(in *motetv1.StreamRunRequest, out grpc.ServerStreamingServer[motetv1.StreamRunResponse]) error {
	f.calls.Add(1)
	return f.stream(in, out)
}

func (f *fake) WatchRun(in *motetv1.WatchRunRequest, out grpc.ServerStreamingServer[motetv1.WatchRunResponse]) error {
	f.calls.Add(1)
	return f.watch(in, out)
}

func (f *fake) MapRun(both grpc.BidiStreamingServer[motetv1.MapRunRequest, motetv1.MapRunResponse]) error {
	f.calls.Add(1)
	return f.mapped(both)
}

func (f *fake) Serve(both grpc.BidiStreamingServer[motetv1.WorkerMessage, motetv1.EngineMessage]) error {
	f.calls.Add(1)
	return f.serve(both)
}

// start serves the fake until the test ends; with a TLS configuration, encrypted.
func (f *fake) start(t *testing.T, encrypted *tls.Config) *fake {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	options := []grpc.ServerOption{grpc.MaxRecvMsgSize(32 << 20)}
	if encrypted != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(encrypted)))
	}
	server := grpc.NewServer(options...)
	motetv1.RegisterRunServiceServer(server, f)
	motetv1.RegisterWorkerServiceServer(server, f)
	f.address = listener.Addr().String()
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		must(t, <-ended)
	})
	return f
}

func (f *fake) client(t *testing.T, options ...motet.Option) *motet.Client {
	t.Helper()
	return newClient(t, f.address, options...)
}

func newClient(t *testing.T, address string, options ...motet.Option) *motet.Client {
	t.Helper()
	client, err := motet.NewClient(address, options...)
	must(t, err)
	t.Cleanup(func() { must(t, client.Close()) })
	return client
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t *testing.T, found, expected T, what string) {
	t.Helper()
	if found != expected {
		t.Fatalf("%s: expected %v, found %v", what, expected, found)
	}
}

// receive takes what a channel brings, within the bound.
func receive[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case value := <-from:
		return value
	case <-time.After(bounded):
		t.Fatalf("%s did not come", what)
	}
	panic("unreachable")
}

var away = status.Error(codes.Unavailable, "the server is away")

func detailed(code codes.Code, message string, details ...protoadapt.MessageV1) error {
	told, err := status.New(code, message).WithDetails(details...)
	if err != nil {
		return err
	}
	return told.Err()
}

func events(numbers ...int64) []*motetv1.Event {
	made := make([]*motetv1.Event, len(numbers))
	for index, number := range numbers {
		made[index] = &motetv1.Event{Sequence: number}
	}
	return made
}

func succeeded(output string) *motetv1.RunResult {
	return &motetv1.RunResult{RunId: "run-1", State: motetv1.State_STATE_SUCCEEDED, Output: motet.Text(output)}
}
