// One run for each input of a sequence.

package motet

import (
	"context"
	"errors"
	"io"
	"iter"
	"sync/atomic"

	"google.golang.org/grpc/codes"

	motetv1 "motet.dev/go/motet/v1"
)

// Map runs the request once for each input; answers come as runs end. The request has no input of its own, and its
// timeout bounds each run. MaxInFlight is the most runs at once; zero means 16.
//
// Inputs is read in a goroutine of its own, not much faster than runs start. Leaving the loop cancels what runs, and
// ends that goroutine as soon as inputs gives it control.
func (c *Client) Map(
	ctx context.Context, request *motetv1.RunRequest, maxInFlight int32, inputs iter.Seq[*motetv1.MapInput],
) iter.Seq2[*motetv1.MapRunResponse, error] {
	return func(yield func(*motetv1.MapRunResponse, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		call, err := c.Runs.MapRun(ctx)
		if err != nil {
			yield(nil, asError(err))
			return
		}
		var missing atomic.Int64 // Answers; one more while inputs are still to come.
		missing.Store(1)
		go func() {
			opening := &motetv1.MapOpen{Request: request, MaxInFlight: maxInFlight}
			err := call.Send(&motetv1.MapRunRequest{Message: &motetv1.MapRunRequest_Open{Open: opening}})
			for input := range inputs {
				if err != nil {
					return // The answers end with the cause.
				}
				missing.Add(1)
				err = call.Send(&motetv1.MapRunRequest{Message: &motetv1.MapRunRequest_Input{Input: input}})
			}
			missing.Add(-1)
			_ = call.CloseSend() // It has no errors of its own.
		}()
		for {
			answer, err := call.Recv()
			if errors.Is(err, io.EOF) {
				if missing.Load() == 0 {
					return
				}
				err = fail(codes.Internal, "STREAM_ENDED", "the server left inputs without answers")
			}
			if !yield(answer, asError(err)) || err != nil {
				return
			}
			missing.Add(-1)
		}
	}
}
