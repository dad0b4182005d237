// Functions of this program as agents of a server: what they are asked and answer, and how a worker stays connected.

package motet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"time"

	"google.golang.org/grpc/codes"

	motetv1 "motet.dev/go/motet/v1"
)

// Func answers one call. Its context ends when the call is cancelled, its time is over or the connection is lost; it
// should return soon then. What it returns goes through [Encode]; a [motetv1.LeaseReply] may say more. An error fails
// the call: an [Error] with its own reason, any other with AGENT_FAILED.
type Func func(ctx context.Context, call *Call) (any, error)

// Call is what a function is asked. Calls that it makes itself with its context count as nested in this one.
type Call struct {
	*motetv1.Lease
	ctx     context.Context
	reports chan<- *motetv1.LeaseProgress
}

// Report tells how far the call is. The value goes through [Encode].
func (c *Call) Report(value any) error {
	report, err := Encode(value)
	progress := &motetv1.LeaseProgress{LeaseId: c.LeaseId, Epoch: c.Epoch, Report: report}
	if err = errors.Join(err, fits(progress)); err != nil {
		return err
	}
	select {
	case c.reports <- progress:
		return nil
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
}

// Worker offers functions to a server. Set its fields before Run.
type Worker struct {
	// ID is the worker's, the same when it connects again. Empty means one of host, process and chance.
	ID string
	// Capacity is the most leases at once over all agents. Zero means the sum of the agents' own.
	Capacity int32
	// Grace is how long a cancelled function may take to return before it is reported as DETACHED. Zero means 5 s: half
	// of what an engine waits.
	Grace time.Duration
	// OnConnect is called when the server has taken the worker, OnLost when a connection was lost or could not be made.
	// They must not block. Nil means nothing.
	OnConnect func(epoch int64)
	OnLost    func(error)

	address string
	options []Option
	offers  []*motetv1.WorkerAgent
	does    map[string]Func
	drains  context.Context // Over once the worker drains.
	drain   context.CancelFunc
}

// NewWorker makes a worker for the server at an address.
func NewWorker(address string, options ...Option) *Worker {
	w := &Worker{address: address, options: options, does: map[string]Func{}}
	w.drains, w.drain = context.WithCancel(context.Background())
	return w
}

// Handle offers a function as an agent.
func (w *Worker) Handle(agent *motetv1.WorkerAgent, does Func) {
	w.offers = append(w.offers, agent)
	w.does[agent.GetName()] = does
}

// Drain asks the server for no new leases and to let the worker go when the last has ended; Run returns nil then.
func (w *Worker) Drain() { w.drain() }

// Run serves until the worker has drained, ctx ends or the server refuses the worker, and returns nil or the error of
// that. It connects again when the connection breaks. The first of the signals drains; a second one does what it would
// do without Run. The end of ctx ends all leases at once.
func (w *Worker) Run(ctx context.Context, drainOn ...os.Signal) error {
	host, _ := os.Hostname()
	w.ID = cmp.Or(w.ID, fmt.Sprintf("%.64s-%d-%08x", host, os.Getpid(), rand.Uint32()))
	w.Grace = cmp.Or(w.Grace, 5*time.Second)
	if len(drainOn) > 0 {
		signals, stop := signal.NotifyContext(w.drains, drainOn...)
		defer stop()
		defer context.AfterFunc(signals, func() { stop(); w.drain() })()
	}
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(w.drains, stop)()
	for try := 1; ctx.Err() == nil && w.drains.Err() == nil; try++ {
		welcomed, err := w.serve(ctx)
		if failed := (*Error)(nil); errors.As(err, &failed) && final[failed.Code] {
			return err
		}
		if welcomed {
			try = 1
		}
		if err != nil && ctx.Err() == nil && w.OnLost != nil {
			w.OnLost(err)
		}
		pause(waiting, wait(try, err))
	}
	return context.Cause(ctx) // Nil when it drained.
}

// final are the codes with which a server refuses a worker for what it is: coming back would not help.
var final = map[codes.Code]bool{
	codes.InvalidArgument: true, codes.FailedPrecondition: true, codes.NotFound: true, codes.AlreadyExists: true,
	codes.Unimplemented: true, codes.Unauthenticated: true, codes.PermissionDenied: true,
	codes.Aborted: true, // Another worker has taken this one's ID.
}
