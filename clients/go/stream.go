// A run's events as they happen, and how a watch comes back after a broken connection. Each event comes out once and in
// order: what was seen is dropped, and what is missing breaks the connection, so that a new one asks for it.

package motet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"google.golang.org/grpc/codes"

	motetv1 "motet.dev/go/motet/v1"
)

// watchTries are connections in a row that bring nothing new before a watch gives up: about half a minute.
const watchTries = 10

// Stream is a run that is followed: range over Events, then look at Result. It is for one goroutine.
type Stream struct {
	// RunID is the run's id; empty before the first event.
	RunID string
	// Result is how the run ended; nil before the end of Events, and after an error.
	Result *motetv1.RunResult

	ctx   context.Context
	open  func(ctx context.Context, after int64) (func() (message, error), error)
	last  int64
	tries int // Allowed in a row without news; 1 where another would run the plan again.
}

type message interface {
	GetEvents() []*motetv1.Event
	GetResult() *motetv1.RunResult
	GetRunId() string
}

// Stream is Run with its events. Ranging over Events starts the run, leaving that loop cancels it; it is for one range.
func (c *Client) Stream(ctx context.Context, request *motetv1.RunRequest) *Stream {
	return &Stream{ctx: ctx, tries: 1, open: func(ctx context.Context, after int64) (func() (message, error), error) {
		if after > 0 {
			return nil, fail(codes.FailedPrecondition, "STREAM_ENDED", "the loop was left, which cancelled the run")
		}
		ctx, cancel := bound(ctx, request)
		context.AfterFunc(ctx, cancel) // The end of the loop ends ctx.
		call, err := c.Runs.StreamRun(ctx, &motetv1.StreamRunRequest{Request: request})
		return func() (message, error) { return call.Recv() }, err
	}}
}

// Watch follows a background run from the event after a sequence number, zero for the first, to its end. It connects
// again when the connection breaks. Leaving the loop does not stop the run, and another range over Events goes on.
func (c *Client) Watch(ctx context.Context, runID string, after int64) *Stream {
	return &Stream{
		RunID: runID, ctx: ctx, last: after, tries: tries,
		open: func(ctx context.Context, after int64) (func() (message, error), error) {
			call, err := c.Runs.WatchRun(ctx, &motetv1.WatchRunRequest{RunId: runID, AfterSequence: after})
			return func() (message, error) { return call.Recv() }, err
		},
	}
}

// Events gives the events in order. An error, which is an [Error], is the last thing given.
func (s *Stream) Events() iter.Seq2[*motetv1.Event, error] {
	return func(yield func(*motetv1.Event, error) bool) {
		for try := 1; s.Result == nil; try++ {
			before := s.last
			err := s.follow(yield)
			if err == nil {
				return
			}
			if s.last > before {
				try = 1
			}
			if try >= s.tries || s.ctx.Err() != nil || !broken(err) || !pause(s.ctx, wait(try, err)) {
				yield(nil, err)
				return
			}
		}
	}
}

// follow yields what one connection brings. Nil means that the run has ended, or that the loop was left.
func (s *Stream) follow(yield func(*motetv1.Event, error) bool) error {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	receive, err := s.open(ctx, s.last)
	if err != nil {
		return asError(err)
	}
	for {
		message, err := receive()
		switch {
		case err != nil && s.Result != nil:
			return nil
		case errors.Is(err, io.EOF):
			return fail(codes.Unavailable, "STREAM_ENDED", "the server ended the stream before the run's result")
		case err != nil:
			return asError(err)
		}
		if s.RunID = message.GetRunId(); s.tries > 1 {
			s.tries = watchTries
		}
		for _, event := range message.GetEvents() {
			if event.Sequence > s.last+1 {
				text := fmt.Sprintf("the server sent event %d after event %d", event.Sequence, s.last)
				return fail(codes.Internal, "EVENT_GAP", text)
			}
			if event.Sequence == s.last+1 {
				if s.last++; !yield(event, nil) {
					return nil
				}
			}
		}
		s.Result = message.GetResult()
	}
}

// broken tells whether an error is about the connection: also one that nobody asked for and no server gave a reason of.
func broken(err error) bool {
	failed := (*Error)(nil)
	if !errors.As(err, &failed) {
		return false
	}
	bare := failed.Reason == bareReason(failed.Code)
	return failed.Code == codes.Unavailable || failed.Reason == "EVENT_GAP" ||
		bare && (failed.Code == codes.Canceled || strings.Contains(failed.Message, "RST_STREAM"))
}
