// One connection of a worker. One goroutine holds its state and does all the sending; functions, timers and what is
// heard come to it. A lease is answered once: when its function ends, or after a cancel when the grace does.

package motet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	motetv1 "motet.dev/go/motet/v1"
)

const (
	maxMessage   = 16<<20 - 1024    // The server's bound, rounded down; a larger one would end the stream and its leases.
	firstSilence = 10 * time.Second // How long the welcome may take.
	silentBeats  = 3                // Intervals, by the contract.
)

type connection struct {
	*Worker
	ctx       context.Context
	functions sync.WaitGroup
	reports   chan *motetv1.LeaseProgress
	ends      chan end
	leases    map[string]*held
}

type held struct {
	*motetv1.Lease
	cancel context.CancelFunc
	asked  time.Time // When it was to stop; zero while it is not.
}

// end is how a function ended. Both nil mean that it has not, and that the grace is over.
type end struct {
	lease *held
	reply *motetv1.LeaseReply
	err   error
}

// serve holds one connection to its end, and tells whether the server took the worker. Nil means that it ended in good
// order.
func (w *Worker) serve(ctx context.Context) (welcomed bool, err error) {
	conn, err := connect(w.address, w.options)
	if err != nil {
		return false, asError(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	c := &connection{
		Worker: w, ctx: ctx, leases: map[string]*held{},
		reports: make(chan *motetv1.LeaseProgress), ends: make(chan end),
	}
	defer c.wait()
	defer cancel(nil)
	silence := time.AfterFunc(firstSilence, func() {
		cancel(fail(codes.Unavailable, "ENGINE_SILENT", "the server was not heard for three intervals"))
	})
	defer silence.Stop()
	stream, err := motetv1.NewWorkerServiceClient(conn).Serve(ctx)
	if err != nil {
		return false, asError(err)
	}
	heard, lost := make(chan *motetv1.EngineMessage), error(nil)
	go func() {
		defer close(heard)
		for ctx.Err() == nil {
			var message *motetv1.EngineMessage
			if message, lost = stream.Recv(); lost != nil {
				return
			}
			select {
			case heard <- message:
			case <-ctx.Done():
			}
		}
	}()
	send := func(message *motetv1.WorkerMessage) {
		_ = stream.Send(message) // An error means that the stream is over; it is Recv that says why.
	}
	send(&motetv1.WorkerMessage{Message: &motetv1.WorkerMessage_Hello{Hello: &motetv1.WorkerHello{
		WorkerId: w.ID, Agents: w.offers, Capacity: w.Capacity, Library: "motet-go/" + Version,
	}}})
	interval := firstSilence
	beat, drains := time.NewTicker(interval), (<-chan struct{})(nil)
	defer beat.Stop()
	for {
		select {
		case <-drains:
			drains = nil // A lease may be on its way now: it is the server that ends the stream.
			send(&motetv1.WorkerMessage{Message: &motetv1.WorkerMessage_Drain{Drain: &motetv1.WorkerDrain{}}})
		case <-beat.C:
			running := &motetv1.Heartbeat{Running: int32(len(c.leases))}
			send(&motetv1.WorkerMessage{Message: &motetv1.WorkerMessage_Heartbeat{Heartbeat: running}})
		case report := <-c.reports:
			send(&motetv1.WorkerMessage{Message: &motetv1.WorkerMessage_Progress{Progress: report}})
		case end := <-c.ends:
			if c.leases[end.lease.LeaseId] == end.lease {
				delete(c.leases, end.lease.LeaseId)
				send(end.message())
			}
		case message, open := <-heard:
			if !open {
				return welcomed, c.ended(lost)
			}
			silence.Reset(silentBeats * interval)
			switch said := message.GetMessage().(type) {
			case *motetv1.EngineMessage_Welcome:
				welcomed, drains = true, w.drains.Done()
				interval = max(said.Welcome.HeartbeatInterval.AsDuration(), 10*time.Millisecond)
				beat.Reset(interval)
				silence.Reset(silentBeats * interval)
				if w.OnConnect != nil {
					w.OnConnect(said.Welcome.Epoch)
				}
			case *motetv1.EngineMessage_Lease:
				c.begin(said.Lease)
			case *motetv1.EngineMessage_Cancel:
				c.stop(said.Cancel)
			}
		}
	}
}

// ended makes an error of the end of a stream. Nil means that the server ended it in good order.
func (c *connection) ended(lost error) error {
	switch {
	case errors.Is(lost, io.EOF):
		return nil
	case c.ctx.Err() != nil:
		return context.Cause(c.ctx)
	}
	return asError(lost)
}

func (c *connection) begin(lease *motetv1.Lease) {
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(c.ctx, depthKey, strconv.Itoa(int(lease.Depth))))
	held := &held{Lease: lease, cancel: cancel}
	c.leases[lease.LeaseId] = held
	c.functions.Go(func() {
		defer cancel()
		if lease.TimeLeft != nil {
			ctx, cancel = context.WithTimeout(ctx, lease.TimeLeft.AsDuration())
			defer cancel()
		}
		reply, err := c.call(ctx, lease)
		c.say(end{held, reply, err})
	})
}

// call gives the function's reply, or else an error.
func (c *connection) call(ctx context.Context, lease *motetv1.Lease) (reply *motetv1.LeaseReply, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("the function panicked: %v", fault)
		}
	}()
	does, known := c.does[lease.Agent]
	if !known {
		return nil, fail(codes.NotFound, "AGENT_NOT_FOUND", "this worker does not offer "+lease.Agent)
	}
	value, err := any(nil), ctx.Err() // What is over already is not begun.
	if err == nil {
		value, err = does(ctx, &Call{lease, ctx, c.reports})
	}
	if err != nil {
		if ctx.Err() == context.DeadlineExceeded && errors.Is(err, ctx.Err()) {
			err = fail(codes.DeadlineExceeded, "DEADLINE_EXCEEDED", "the call's time is over")
		}
		return nil, err
	}
	reply, full := value.(*motetv1.LeaseReply)
	if !full {
		reply = &motetv1.LeaseReply{}
		reply.Output, err = Encode(value)
	}
	reply.LeaseId, reply.Epoch = lease.LeaseId, lease.Epoch
	if err = errors.Join(err, fits(reply)); err != nil {
		return nil, fail(codes.InvalidArgument, "OUTPUT_INVALID", err.Error())
	}
	return reply, nil
}

func (c *connection) stop(order *motetv1.CancelLease) {
	// An unknown lease was answered already, and the answer is on its way.
	if lease := c.leases[order.LeaseId]; lease != nil && lease.asked.IsZero() {
		lease.asked = time.Now()
		lease.cancel()
		time.AfterFunc(c.Grace, func() { c.say(end{lease: lease}) })
	}
}

func (c *connection) say(end end) {
	select {
	case c.ends <- end:
	case <-c.ctx.Done():
	}
}

// wait lets the functions of a connection that is over end, for as long as the grace.
func (c *connection) wait() {
	ended, cancel := context.WithTimeout(context.Background(), c.Grace)
	defer cancel()
	go func() { c.functions.Wait(); cancel() }()
	<-ended.Done()
}

// message is the answer; after a cancel it is the receipt.
func (e end) message() *motetv1.WorkerMessage {
	id, epoch := e.lease.LeaseId, e.lease.Epoch
	if !e.lease.asked.IsZero() {
		took := durationpb.New(time.Since(e.lease.asked))
		receipt := &motetv1.StopReceipt{Kind: motetv1.StopReceipt_KIND_STOPPED, Took: took}
		if e.reply == nil && e.err == nil {
			receipt.Kind = motetv1.StopReceipt_KIND_DETACHED
			receipt.Detail = "the function " + e.lease.Agent + " still runs"
		}
		return &motetv1.WorkerMessage{Message: &motetv1.WorkerMessage_Stopped{
			Stopped: &motetv1.LeaseStopped{LeaseId: id, Epoch: epoch, Receipt: receipt},
		}}
	}
	if e.reply != nil {
		return &motetv1.WorkerMessage{Message: &motetv1.WorkerMessage_Reply{Reply: e.reply}}
	}
	failed := &Error{Message: e.err.Error()}
	_ = errors.As(e.err, &failed)
	reason := cmp.Or(failed.Reason, "AGENT_FAILED")
	details := map[string]*structpb.Value{}
	for key, fact := range failed.Metadata {
		details[key] = structpb.NewStringValue(fact)
	}
	if failed.RetryAfter > 0 {
		details["retry_after_seconds"] = structpb.NewNumberValue(failed.RetryAfter.Seconds())
	}
	return &motetv1.WorkerMessage{Message: &motetv1.WorkerMessage_Failure{Failure: &motetv1.LeaseFailure{
		LeaseId: id, Epoch: epoch, Retryable: failed.Retryable || failed.RetryAfter > 0, Failure: &motetv1.Failure{
			Reason: reason, Message: strings.ToValidUTF8(cmp.Or(failed.Message, reason), "?"),
			Details: &structpb.Struct{Fields: details},
		},
	}}}
}

// fits tells whether what is to be sent can be.
func fits(message proto.Message) error {
	written, err := proto.Marshal(message)
	if err == nil && len(written) > maxMessage {
		err = fmt.Errorf("%d bytes are more than the %d that fit in a message", len(written), maxMessage)
	}
	return err
}
