// Streams, watches and maps against a server of the tests' own.

package motet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	motet "motet.dev/go"
	motetv1 "motet.dev/go/motet/v1"
)

// sequences ranges to the end.
func sequences(stream *motet.Stream) (numbers []int64, err error) {
	for event, err := range stream.Events() {
		if err != nil {
			return numbers, err
		}
		numbers = append(numbers, event.Sequence)
	}
	return numbers, nil
}

func TestAStreamGivesTheEventsAndThenTheResult(t *testing.T) {
	server := (&fake{stream: func(_ *motetv1.StreamRunRequest, out grpc.ServerStreamingServer[motetv1.StreamRunResponse]) error {
		return errors.Join(
			out.Send(&motetv1.StreamRunResponse{RunId: "run-1", Events: events(1, 2)}),
			out.Send(&motetv1.StreamRunResponse{RunId: "run-1", Events: events(3), Result: succeeded("yes")}),
		)
	}}).start(t, nil)
	stream := server.client(t).Stream(t.Context(), motet.Group("panel", motet.Text("x")))
	equal(t, server.calls.Load(), 0, "calls before the range")
	numbers, err := sequences(stream)
	must(t, err)
	equal(t, fmt.Sprint(numbers), "[1 2 3]", "events")
	equal(t, stream.RunID, "run-1", "run id")
	equal(t, stream.Result.GetOutput().GetText(), "yes", "output")
	numbers, err = sequences(stream)
	equal(t, len(numbers), 0, "events of another range")
	must(t, err)
}

func TestLeavingTheLoopOfAStreamCancelsTheRunAndAnotherRangeDoesNotStartItAgain(t *testing.T) {
	stopped := make(chan error, 1)
	server := (&fake{stream: func(_ *motetv1.StreamRunRequest, out grpc.ServerStreamingServer[motetv1.StreamRunResponse]) error {
		err := out.Send(&motetv1.StreamRunResponse{RunId: "run-1", Events: events(1, 2)})
		<-out.Context().Done()
		stopped <- errors.Join(err, out.Context().Err())
		return nil
	}}).start(t, nil)
	request := motet.Group("panel", motet.Text("x"))
	request.Timeout = durationpb.New(100e9)
	stream := server.client(t).Stream(t.Context(), request)
	for _, err := range stream.Events() {
		must(t, err)
		break
	}
	equal(t, errors.Is(receive(t, stopped, "the end on the server"), context.Canceled), true, "cancelled")
	_, err := sequences(stream)
	equal(t, errors.Is(err, motet.ErrFailedPrecondition), true, "another range is refused")
	equal(t, server.calls.Load(), 1, "calls")
}

func TestAStreamIsNotMadeAgainWhenItBreaks(t *testing.T) {
	server := (&fake{stream: func(*motetv1.StreamRunRequest, grpc.ServerStreamingServer[motetv1.StreamRunResponse]) error {
		return away
	}}).start(t, nil)
	_, err := sequences(server.client(t).Stream(t.Context(), motet.Group("panel", nil)))
	equal(t, errors.Is(err, motet.ErrUnavailable), true, "the error is given")
	equal(t, server.calls.Load(), 1, "calls")
}

// watched plays one connection after another: what each sends, and how it ends.
func watched(t *testing.T, asked *[]int64, connections ...func(send func(...int64) error, end func() error) error) *fake {
	server := &fake{}
	server.watch = func(in *motetv1.WatchRunRequest, out grpc.ServerStreamingServer[motetv1.WatchRunResponse]) error {
		*asked = append(*asked, in.AfterSequence)
		return connections[min(int(server.calls.Load()), len(connections))-1](
			func(numbers ...int64) error {
				return out.Send(&motetv1.WatchRunResponse{RunId: in.RunId, Events: events(numbers...)})
			},
			func() error { return out.Send(&motetv1.WatchRunResponse{RunId: in.RunId, Result: succeeded("yes")}) },
		)
	}
	return server.start(t, nil)
}

func TestAWatchComesBackAfterTheLastEventSeenWhateverBroke(t *testing.T) {
	var asked []int64
	server := watched(t, &asked,
		func(send func(...int64) error, _ func() error) error { return errors.Join(send(1, 2), nil) }, // No result.
		func(send func(...int64) error, _ func() error) error {
			if err := send(2, 3); err != nil {
				return err
			}
			return away
		},
		func(send func(...int64) error, _ func() error) error { return send(4, 6) }, // Five is missing.
		func(send func(...int64) error, _ func() error) error { return status.Error(codes.Canceled, "stopped") },
		func(send func(...int64) error, end func() error) error { return errors.Join(send(5, 6), end()) },
	)
	stream := server.client(t).Watch(t.Context(), "run-1", 0)
	numbers, err := sequences(stream)
	must(t, err)
	equal(t, fmt.Sprint(numbers), "[1 2 3 4 5 6]", "events")
	equal(t, fmt.Sprint(asked), "[0 2 3 4 4]", "cursors")
	equal(t, stream.Result.GetOutput().GetText(), "yes", "output")
}

func TestAWatchGoesOnWhereItsLoopWasLeft(t *testing.T) {
	var asked []int64
	server := watched(t, &asked,
		func(send func(...int64) error, _ func() error) error { return send(5, 6, 7) },
		func(send func(...int64) error, end func() error) error { return errors.Join(send(6, 7), end()) },
	)
	stream := server.client(t).Watch(t.Context(), "run-1", 4)
	for event, err := range stream.Events() {
		must(t, err)
		equal(t, event.Sequence, 5, "first event")
		break
	}
	numbers, err := sequences(stream)
	must(t, err)
	equal(t, fmt.Sprint(numbers), "[6 7]", "the rest")
	equal(t, fmt.Sprint(asked), "[4 5]", "cursors")
}

func TestAWatchGivesUpOnAnErrorThatIsNotAboutTheConnectionAndOnAServerThatIsNotThere(t *testing.T) {
	var asked []int64
	server := watched(t, &asked, func(func(...int64) error, func() error) error {
		return detailed(codes.NotFound, "no such run")
	})
	_, err := sequences(server.client(t).Watch(t.Context(), "run-1", 0))
	equal(t, errors.Is(err, motet.ErrNotFound), true, "not found")
	equal(t, server.calls.Load(), 1, "connections")

	silent := watched(t, &asked, func(func(...int64) error, func() error) error { return away })
	_, err = sequences(silent.client(t).Watch(t.Context(), "run-1", 0))
	equal(t, errors.Is(err, motet.ErrUnavailable), true, "unavailable")
	equal(t, silent.calls.Load(), 3, "connections")
}

func inputs(texts ...string) iter.Seq[*motetv1.MapInput] {
	return func(yield func(*motetv1.MapInput) bool) {
		for _, text := range texts {
			if !yield(&motetv1.MapInput{Id: text, Input: motet.Text(text)}) {
				return
			}
		}
	}
}

// echoing answers each input with itself, but those that are left out.
func echoing(leave ...string) func(grpc.BidiStreamingServer[motetv1.MapRunRequest, motetv1.MapRunResponse]) error {
	return func(both grpc.BidiStreamingServer[motetv1.MapRunRequest, motetv1.MapRunResponse]) error {
		opening, err := both.Recv()
		if err != nil || opening.GetOpen().GetMaxInFlight() != 2 {
			return status.Errorf(codes.InvalidArgument, "open: %v %v", opening, err)
		}
		for index := int64(0); ; index++ {
			message, err := both.Recv()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			id := message.GetInput().GetId()
			if slices.Contains(leave, id) {
				continue
			}
			if err := both.Send(&motetv1.MapRunResponse{Index: index, Id: id, Result: succeeded(id)}); err != nil {
				return err
			}
		}
	}
}

func TestAMapGivesOneAnswerForEachInput(t *testing.T) {
	client := (&fake{mapped: echoing()}).start(t, nil).client(t)
	found := ""
	for answer, err := range client.Map(t.Context(), motet.Group("panel", nil), 2, inputs("a", "b", "c")) {
		must(t, err)
		found += answer.Id + answer.Result.Output.GetText()
	}
	equal(t, found, "aabbcc", "answers")
	for range client.Map(t.Context(), motet.Group("panel", nil), 2, inputs()) {
		t.Fatal("no inputs have no answers")
	}
}

func TestAMapWhoseServerLeavesInputsOutIsAnError(t *testing.T) {
	client := (&fake{mapped: echoing("b")}).start(t, nil).client(t)
	var last error
	for _, err := range client.Map(t.Context(), motet.Group("panel", nil), 2, inputs("a", "b", "c")) {
		last = err
	}
	equal(t, errors.Is(last, &motet.Error{Reason: "STREAM_ENDED"}), true, fmt.Sprint(last))
}

func TestAMapThatIsRefusedGivesTheError(t *testing.T) {
	client := (&fake{mapped: echoing()}).start(t, nil).client(t)
	var last error
	for _, err := range client.Map(t.Context(), motet.Group("panel", nil), 3, inputs("a", "b")) {
		last = err
	}
	equal(t, errors.Is(last, motet.ErrInvalidArgument), true, fmt.Sprint(last))
}

func TestLeavingTheLoopOfAMapCancelsItAndEndsTheReadingOfInputs(t *testing.T) {
	stopped := make(chan error, 1)
	server := (&fake{mapped: func(both grpc.BidiStreamingServer[motetv1.MapRunRequest, motetv1.MapRunResponse]) error {
		err := echoing()(both)
		stopped <- both.Context().Err()
		return err
	}}).start(t, nil)
	ended := make(chan struct{})
	endless := func(yield func(*motetv1.MapInput) bool) {
		defer close(ended)
		for yield(&motetv1.MapInput{Input: motet.Text("again")}) {
		}
	}
	for _, err := range server.client(t).Map(t.Context(), motet.Group("panel", nil), 2, endless) {
		must(t, err)
		break
	}
	equal(t, receive(t, stopped, "the end on the server"), context.Canceled, "on the server")
	receive(t, ended, "the end of the inputs")
}
