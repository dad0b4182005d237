// The other side of a worker, which the tests play themselves.

package motet_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	motet "motet.dev/go"
	motetv1 "motet.dev/go/motet/v1"
)

// engine is the other side of one worker's connection.
type engine struct {
	t      *testing.T
	stream grpc.BidiStreamingServer[motetv1.WorkerMessage, motetv1.EngineMessage]
	hello  *motetv1.WorkerHello
	said   chan *motetv1.WorkerMessage // Heartbeats go elsewhere.
	beats  chan *motetv1.Heartbeat
	over   chan error // What to end the stream with.
}

// engines serves workers: each connection comes out of the channel once it has been welcomed.
func engines(t *testing.T, interval time.Duration) (*fake, <-chan *engine) {
	arrived := make(chan *engine, 8)
	server := &fake{}
	server.serve = func(both grpc.BidiStreamingServer[motetv1.WorkerMessage, motetv1.EngineMessage]) error {
		first, err := both.Recv()
		if err != nil {
			return err
		}
		e := &engine{
			t: t, stream: both, hello: first.GetHello(), said: make(chan *motetv1.WorkerMessage, 256),
			beats: make(chan *motetv1.Heartbeat, 1), over: make(chan error, 1),
		}
		welcome := &motetv1.EngineWelcome{HeartbeatInterval: durationpb.New(interval), Epoch: int64(server.calls.Load())}
		e.send(&motetv1.EngineMessage{Message: &motetv1.EngineMessage_Welcome{Welcome: welcome}})
		go func() {
			for {
				message, err := both.Recv()
				if err != nil {
					return
				}
				if beat := message.GetHeartbeat(); beat != nil {
					select {
					case e.beats <- beat:
					default:
					}
				} else {
					e.said <- message
				}
			}
		}()
		arrived <- e
		select {
		case err := <-e.over:
			return err
		case <-both.Context().Done():
			return nil
		}
	}
	return server.start(t, nil), arrived
}

func (e *engine) send(message *motetv1.EngineMessage) {
	if err := e.stream.Send(message); err != nil {
		e.t.Errorf("the engine could not send: %v", err)
	}
}

func (e *engine) lease(lease *motetv1.Lease) {
	e.send(&motetv1.EngineMessage{Message: &motetv1.EngineMessage_Lease{Lease: lease}})
}

func (e *engine) cancel(id string) {
	order := &motetv1.CancelLease{LeaseId: id, Reason: "CANCELLED"}
	e.send(&motetv1.EngineMessage{Message: &motetv1.EngineMessage_Cancel{Cancel: order}})
}

func (e *engine) hears(what string) *motetv1.WorkerMessage {
	e.t.Helper()
	return receive(e.t, e.said, what)
}

// failure asks for a call, which is to fail.
func (e *engine) failure(lease *motetv1.Lease) *motetv1.LeaseFailure {
	e.t.Helper()
	e.lease(lease)
	return e.hears("failure of " + lease.Agent).GetFailure()
}

// running runs a worker until the test ends, and gives where its end is told.
func running(t *testing.T, w *motet.Worker) <-chan error {
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		ended <- w.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-gone
	})
	return ended
}

// offering is a worker of one agent.
func offering(server *fake, does motet.Func) *motet.Worker {
	w := motet.NewWorker(server.address)
	w.Handle(&motetv1.WorkerAgent{Name: "agent", Capacity: 4}, does)
	return w
}

func upper(_ context.Context, call *motet.Call) (any, error) {
	return strings.ToUpper(call.Input.GetText()), nil
}

func leased(id, text string) *motetv1.Lease {
	return &motetv1.Lease{LeaseId: id, Epoch: 1, Agent: "agent", Input: motet.Text(text)}
}
