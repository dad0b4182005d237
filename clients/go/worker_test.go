// The worker against an engine of the tests' own.

package motet_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	motet "motet.dev/go"
	motetv1 "motet.dev/go/motet/v1"
)

func TestAWorkerSaysWhatItOffersAndAnswersWithLeaseAndEpoch(t *testing.T) {
	server, arrived := engines(t, time.Minute)
	w := motet.NewWorker(server.address)
	w.ID, w.Capacity = "worker-7", 3
	welcomed := make(chan int64, 1)
	w.OnConnect = func(epoch int64) { welcomed <- epoch }
	w.Handle(&motetv1.WorkerAgent{Name: "agent", Version: "2", Capacity: 2, ReplaySafe: true}, upper)
	running(t, w)
	e := receive(t, arrived, "worker")
	equal(t, e.hello.WorkerId, "worker-7", "id")
	equal(t, e.hello.Capacity, 3, "capacity")
	equal(t, e.hello.Library, "motet-go/"+motet.Version, "library")
	equal(t, e.hello.Agents[0].Version, "2", "version")
	equal(t, e.hello.Agents[0].ReplaySafe, true, "replay safe")
	equal(t, receive(t, welcomed, "welcome"), 1, "epoch")
	e.lease(leased("l1", "ä quiet word"))
	reply := e.hears("reply").GetReply()
	equal(t, reply.GetLeaseId(), "l1", "lease")
	equal(t, reply.GetEpoch(), 1, "epoch")
	equal(t, reply.GetOutput().GetText(), "Ä QUIET WORD", "output")
}

func TestAWorkerRunsAsManyLeasesAtOnceAsItIsGiven(t *testing.T) {
	server, arrived := engines(t, time.Minute)
	var together sync.WaitGroup
	together.Add(4)
	running(t, offering(server, func(ctx context.Context, call *motet.Call) (any, error) {
		together.Done()
		together.Wait()
		return call.LeaseId, ctx.Err()
	}))
	e := receive(t, arrived, "worker")
	for number := range 4 {
		e.lease(leased(fmt.Sprint(number), ""))
	}
	for range 4 {
		reply := e.hears("reply").GetReply()
		equal(t, reply.GetOutput().GetText(), reply.GetLeaseId(), "each has its own answer")
	}
}

func TestAReplyMaySayWhatItUsedAndReportsComeBeforeIt(t *testing.T) {
	server, arrived := engines(t, time.Minute)
	running(t, offering(server, func(_ context.Context, call *motet.Call) (any, error) {
		if err := call.Report("\xff"); !errors.Is(err, motet.ErrInvalidArgument) {
			return nil, fmt.Errorf("a report that has no form was taken: %w", err)
		}
		for step := range 2 {
			if err := call.Report(map[string]int{"step": step}); err != nil {
				return nil, err
			}
		}
		return &motetv1.LeaseReply{Output: motet.Text("done"), Usage: &motetv1.Usage{Calls: 1, InputTokens: 9}}, nil
	}))
	e := receive(t, arrived, "worker")
	e.lease(leased("l1", ""))
	for step := range 2 {
		progress := e.hears("report").GetProgress()
		equal(t, progress.GetReport().GetJson(), fmt.Sprintf(`{"step":%d}`, step), "report")
		equal(t, progress.GetLeaseId(), "l1", "lease")
	}
	reply := e.hears("reply").GetReply()
	equal(t, reply.GetUsage().GetInputTokens(), 9, "tokens")
	equal(t, reply.GetLeaseId(), "l1", "lease")
}

func TestAFunctionFailsWithItsReasonOrWithTheOneOfWhatWentWrong(t *testing.T) {
	server, arrived := engines(t, time.Minute)
	w := motet.NewWorker(server.address)
	for name, does := range map[string]motet.Func{
		"plain": func(context.Context, *motet.Call) (any, error) { return nil, errors.New("no \xff luck") },
		"reasoned": func(context.Context, *motet.Call) (any, error) {
			return nil, fmt.Errorf("wrapped: %w", &motet.Error{
				Reason: "NO_ROOM", Message: "the disk is full", RetryAfter: 1500 * time.Millisecond,
				Metadata: map[string]string{"disk": "sda"},
			})
		},
		"panics":   func(context.Context, *motet.Call) (any, error) { panic("oh") },
		"formless": func(context.Context, *motet.Call) (any, error) { return make(chan int), nil },
		"large":    func(context.Context, *motet.Call) (any, error) { return make([]byte, 17<<20), nil },
		"slow": func(ctx context.Context, _ *motet.Call) (any, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
	} {
		w.Handle(&motetv1.WorkerAgent{Name: name}, does)
	}
	running(t, w)
	e := receive(t, arrived, "worker")
	for name, expected := range map[string]string{
		"plain": "AGENT_FAILED: no ? luck", "reasoned": "NO_ROOM: the disk is full",
		"panics": "AGENT_FAILED: the function panicked: oh", "large": "OUTPUT_INVALID: ", "formless": "OUTPUT_INVALID: ",
		"slow": "DEADLINE_EXCEEDED: the call's time is over", "unknown": "AGENT_NOT_FOUND: this worker does not offer unknown",
	} {
		lease := &motetv1.Lease{LeaseId: name, Epoch: 1, Agent: name}
		if name == "slow" {
			lease.TimeLeft = durationpb.New(50 * time.Millisecond)
		}
		failure := e.failure(lease)
		found := failure.GetFailure().GetReason() + ": " + failure.GetFailure().GetMessage()
		if !strings.HasPrefix(found, expected) {
			t.Fatalf("%s: expected %q, found %q", name, expected, found)
		}
		equal(t, failure.GetLeaseId(), name, "lease")
		equal(t, failure.GetRetryable(), name == "reasoned", name+" retryable")
		if name == "reasoned" {
			details := failure.GetFailure().GetDetails().AsMap()
			equal(t, details["disk"], any("sda"), "detail")
			equal(t, details["retry_after_seconds"], any(1.5), "detail")
		}
	}
}

func TestALeaseWhoseTimeIsOverIsNotBegun(t *testing.T) {
	server, arrived := engines(t, time.Minute)
	running(t, offering(server, func(context.Context, *motet.Call) (any, error) { return "begun", nil }))
	e := receive(t, arrived, "worker")
	lease := leased("l1", "")
	lease.TimeLeft = durationpb.New(0)
	equal(t, e.failure(lease).GetFailure().GetReason(), "DEADLINE_EXCEEDED", "reason")
}

func TestTheContextOfAFunctionHasTheTimeLeftAndTheDepth(t *testing.T) {
	server, arrived := engines(t, time.Minute)
	running(t, offering(server, func(ctx context.Context, _ *motet.Call) (any, error) {
		deadline, _ := ctx.Deadline()
		sent, _ := metadata.FromOutgoingContext(ctx)
		return fmt.Sprint(time.Until(deadline).Round(time.Hour), sent.Get("motet-depth")), nil
	}))
	e := receive(t, arrived, "worker")
	lease := leased("l1", "")
	lease.TimeLeft, lease.Depth = durationpb.New(5*time.Hour), 2
	e.lease(lease)
	equal(t, e.hears("reply").GetReply().GetOutput().GetText(), "5h0m0s [2]", "time left and depth")
}

func TestACancelledFunctionIsAnsweredWithAReceiptAndNotWithItsReply(t *testing.T) {
	server, arrived := engines(t, time.Minute)
	begun := make(chan struct{})
	running(t, offering(server, func(ctx context.Context, _ *motet.Call) (any, error) {
		close(begun)
		<-ctx.Done()
		return "too late", nil
	}))
	e := receive(t, arrived, "worker")
	e.lease(leased("l1", ""))
	receive(t, begun, "start of the function")
	e.cancel("unknown")
	e.cancel("l1")
	e.cancel("l1")
	stopped := e.hears("receipt").GetStopped()
	equal(t, stopped.GetReceipt().GetKind(), motetv1.StopReceipt_KIND_STOPPED, "kind")
	equal(t, stopped.GetLeaseId(), "l1", "lease")
	equal(t, stopped.GetReceipt().GetTook().IsValid(), true, "took")
	e.lease(leased("l2", ""))
	equal(t, e.hears("failure of a function that closes twice").GetFailure().GetLeaseId(), "l2", "the next answer")
}

func TestAFunctionThatDoesNotStopIsReportedAsDetachedOnce(t *testing.T) {
	server, arrived := engines(t, time.Minute)
	begun, release := make(chan struct{}), make(chan struct{})
	w := motet.NewWorker(server.address)
	w.Grace = 50 * time.Millisecond
	w.Handle(&motetv1.WorkerAgent{Name: "agent"}, upper)
	w.Handle(&motetv1.WorkerAgent{Name: "stubborn"}, func(context.Context, *motet.Call) (any, error) {
		close(begun)
		<-release
		return "at last", nil
	})
	running(t, w)
	e := receive(t, arrived, "worker")
	e.lease(&motetv1.Lease{LeaseId: "l1", Epoch: 1, Agent: "stubborn"})
	receive(t, begun, "start of the function")
	e.cancel("l1")
	receipt := e.hears("receipt").GetStopped().GetReceipt()
	equal(t, receipt.GetKind(), motetv1.StopReceipt_KIND_DETACHED, "kind")
	equal(t, receipt.GetDetail(), "the function stubborn still runs", "detail")
	close(release)
	e.lease(leased("l2", "x"))
	equal(t, e.hears("reply").GetReply().GetLeaseId(), "l2", "the next answer")
}

func TestAWorkerIsHeardAndSaysWhatItRuns(t *testing.T) {
	server, arrived := engines(t, 500*time.Millisecond)
	running(t, offering(server, func(ctx context.Context, _ *motet.Call) (any, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}))
	e := receive(t, arrived, "worker")
	beat := &motetv1.EngineMessage{Message: &motetv1.EngineMessage_Heartbeat{Heartbeat: &motetv1.Heartbeat{}}}
	e.lease(leased("l1", ""))
	for receive(t, e.beats, "heartbeat").Running == 0 {
		e.send(beat)
	}
}

func TestAWorkerComesBackUnderItsNameWhenTheEngineIsSilentOrGone(t *testing.T) {
	server, arrived := engines(t, 20*time.Millisecond)
	lost := make(chan error, 8)
	stopped := make(chan error, 8)
	w := offering(server, func(ctx context.Context, _ *motet.Call) (any, error) {
		<-ctx.Done()
		stopped <- ctx.Err()
		return nil, ctx.Err()
	})
	w.OnLost = func(err error) { lost <- err }
	running(t, w)
	first := receive(t, arrived, "worker")
	first.lease(leased("l1", ""))
	equal(t, receive(t, stopped, "the end of the lease"), context.Canceled, "the lost lease")
	equal(t, errors.Is(receive(t, lost, "the loss"), &motet.Error{Reason: "ENGINE_SILENT"}), true, "silence")
	second := receive(t, arrived, "worker again")
	equal(t, second.hello.WorkerId, first.hello.WorkerId, "worker id")
	second.over <- status.Error(codes.Unavailable, "the engine goes")
	equal(t, errors.Is(receive(t, lost, "the loss"), motet.ErrUnavailable), true, "gone")
	receive(t, arrived, "worker for the third time")
}

func TestADrainingWorkerSaysSoFinishesWhatItRunsAndWhatIsOnItsWayAndLeaves(t *testing.T) {
	server, arrived := engines(t, time.Minute)
	begun, release := make(chan struct{}, 2), make(chan struct{})
	w := offering(server, func(context.Context, *motet.Call) (any, error) {
		begun <- struct{}{}
		<-release
		return "done", nil
	})
	ended := running(t, w)
	e := receive(t, arrived, "worker")
	e.lease(leased("l1", ""))
	receive(t, begun, "start of the function")
	w.Drain()
	w.Drain()
	equal(t, e.hears("drain").GetDrain() != nil, true, "drain is said")
	e.lease(leased("l2", ""))
	receive(t, begun, "start of the lease that was on its way")
	close(release)
	for range 2 {
		equal(t, e.hears("reply").GetReply().GetOutput().GetText(), "done", "output")
	}
	e.over <- nil
	must(t, receive(t, ended, "the end of the worker"))
	must(t, w.Run(t.Context()))
	equal(t, server.calls.Load(), 1, "connections")
}

func TestASignalDrains(t *testing.T) {
	server, arrived := engines(t, time.Minute)
	w := offering(server, upper)
	ended := make(chan error, 1)
	go func() { ended <- w.Run(t.Context(), syscall.SIGUSR1) }()
	e := receive(t, arrived, "worker")
	must(t, syscall.Kill(syscall.Getpid(), syscall.SIGUSR1))
	equal(t, e.hears("drain").GetDrain() != nil, true, "drain is said")
	e.over <- nil
	must(t, receive(t, ended, "the end of the worker"))
}

func TestAnEngineThatHasDrainedIsLookedForAgain(t *testing.T) {
	server, arrived := engines(t, time.Minute)
	running(t, offering(server, upper))
	e := receive(t, arrived, "worker")
	e.send(&motetv1.EngineMessage{Message: &motetv1.EngineMessage_Drain{Drain: &motetv1.EngineDrain{}}})
	e.lease(leased("l1", "still served"))
	equal(t, e.hears("reply").GetReply().GetOutput().GetText(), "STILL SERVED", "output")
	e.over <- nil
	receive(t, arrived, "worker again")
}

func TestAWorkerThatIsRefusedReturnsTheErrorAndOneWhoseContextEndsThatOfTheContext(t *testing.T) {
	refusing := (&fake{serve: func(grpc.BidiStreamingServer[motetv1.WorkerMessage, motetv1.EngineMessage]) error {
		return detailed(codes.InvalidArgument, "no such agent")
	}}).start(t, nil)
	err := receive(t, running(t, offering(refusing, upper)), "the end of the worker")
	equal(t, errors.Is(err, motet.ErrInvalidArgument), true, fmt.Sprint(err))

	ctx, cancel := context.WithCancel(t.Context())
	server, arrived := engines(t, time.Minute)
	ended := make(chan error, 1)
	go func() { ended <- offering(server, upper).Run(ctx) }()
	receive(t, arrived, "worker")
	cancel()
	equal(t, receive(t, ended, "the end of the worker"), context.Canceled, "error")
}
