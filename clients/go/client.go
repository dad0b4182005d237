// Package motet is the Go client of Motet: it runs groups of agents on a server, follows them, and offers functions of
// this program to the server as agents.
//
// What is sent and received are the messages of package motetv1, whose comments say what each field means and what
// zero is. Every call takes a context first: its deadline is the call's, its end cancels the call, and with it the run
// on the server unless that goes on in the background.
package motet

import (
	"context"
	"iter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	motetv1 "motet.dev/go/motet/v1"
)

// answerGrace is how long a call outlives its run's timeout: the partial result of a run that timed out is to arrive.
const answerGrace = 5 * time.Second

// Client is a connection to a server, made when it is first used and made again when it breaks. Any number of
// goroutines may use it. Its calls return an [Error].
//
// Reads that meet UNAVAILABLE are made again, up to three tries; so are Run and Start when the request has a RequestId,
// which makes a repeat safe. Nothing else is repeated, but that a watch comes back.
type Client struct {
	// Runs and Catalog are the services as generated, for what has no shorter form here.
	Runs    motetv1.RunServiceClient
	Catalog motetv1.CatalogServiceClient

	conn *grpc.ClientConn
}

// NewClient makes a client for an address such as 127.0.0.1:50061. It fails only for what cannot be an address.
func NewClient(address string, options ...Option) (*Client, error) {
	conn, err := connect(address, options)
	if err != nil {
		return nil, asError(err)
	}
	return &Client{motetv1.NewRunServiceClient(conn), motetv1.NewCatalogServiceClient(conn), conn}, nil
}

// Close cancels what is open and lets the connection go.
func (c *Client) Close() error { return c.conn.Close() }

// Run runs to the end. A run whose members failed is a result too, not an error; see [Answer].
func (c *Client) Run(ctx context.Context, request *motetv1.RunRequest) (*motetv1.RunResult, error) {
	ctx, cancel := bound(ctx, request)
	defer cancel()
	response, err := c.Runs.Run(ctx, request)
	return response.GetResult(), err
}

// Start starts a run in the background. The response says whether the RequestId was known, and the run is an old one.
func (c *Client) Start(ctx context.Context, request *motetv1.RunRequest) (*motetv1.StartRunResponse, error) {
	return c.Runs.StartRun(ctx, &motetv1.StartRunRequest{Request: request})
}

// Get tells where a background run stands, with its result once it has ended.
func (c *Client) Get(ctx context.Context, runID string) (*motetv1.Run, error) {
	response, err := c.Runs.GetRun(ctx, &motetv1.GetRunRequest{RunId: runID})
	return response.GetRun(), err
}

// List gives background runs, newest first, without results, and fetches pages as they are needed. Request may be nil.
func (c *Client) List(ctx context.Context, request *motetv1.ListRunsRequest) iter.Seq2[*motetv1.Run, error] {
	return func(yield func(*motetv1.Run, error) bool) {
		page := &motetv1.ListRunsRequest{}
		proto.Merge(page, request)
		for {
			response, err := c.Runs.ListRuns(ctx, page)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, run := range response.Runs {
				if !yield(run, nil) {
					return
				}
			}
			if page.PageToken = response.NextPageToken; page.PageToken == "" {
				return
			}
		}
	}
}

// Cancel stops a run and waits for its result with the stop receipts.
func (c *Client) Cancel(ctx context.Context, runID string) (*motetv1.Run, error) {
	response, err := c.Runs.CancelRun(ctx, &motetv1.CancelRunRequest{RunId: runID})
	return response.GetRun(), err
}

// Limits tells what is in use of every limit now; with a tenant, only of its own and its runs'.
func (c *Client) Limits(ctx context.Context, tenant string) (*motetv1.ListLimitsResponse, error) {
	return c.Runs.ListLimits(ctx, &motetv1.ListLimitsRequest{Tenant: tenant})
}

// Agents gives all agents of the server's catalog, by name.
func (c *Client) Agents(ctx context.Context) ([]*motetv1.Agent, error) {
	response, err := c.Catalog.ListAgents(ctx, &motetv1.ListAgentsRequest{})
	return response.GetAgents(), err
}

func bound(ctx context.Context, request *motetv1.RunRequest) (context.Context, context.CancelFunc) {
	if timeout := request.GetTimeout(); timeout.IsValid() {
		return context.WithTimeout(ctx, max(0, timeout.AsDuration())+answerGrace)
	}
	return context.WithCancel(ctx)
}
