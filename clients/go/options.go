// How clients and workers connect: TLS, token, keepalive, sizes, and what is repeated when the server is away.

package motet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	motetv1 "motet.dev/go/motet/v1"
)

const (
	// Version is this module's.
	Version = "0.1.0"

	depthKey   = "motet-depth"
	maxAnswer  = 256 << 20 // As in the Python client: results of groups of many members pass gRPC's 4 MiB.
	firstDelay = 100 * time.Millisecond
	maxDelay   = 5 * time.Second
	tries      = 3 // Of a call that may be repeated, and of a watch that has never heard the server.
)

// Option changes how a [Client] or a [Worker] connects. Without any, the connection is not encrypted.
type Option func(*settings)

type settings struct {
	credentials credentials.TransportCredentials
	metadata    map[string]string
}

// WithTLS encrypts the connection. Nil means the system's roots and no certificate of one's own; see [LoadTLS].
func WithTLS(config *tls.Config) Option {
	return func(s *settings) { s.credentials = credentials.NewTLS(config) }
}

// WithToken sends "authorization: Bearer TOKEN" with each call. Without TLS everyone on the way can read it.
func WithToken(token string) Option { return WithMetadata("authorization", "Bearer "+token) }

// WithMetadata sends a key, which is in lower case, and its value with each call.
func WithMetadata(key, value string) Option {
	return func(s *settings) { s.metadata[key] = value }
}

// LoadTLS reads PEM files. An empty caFile means the system's roots; certFile and keyFile are empty, or both given.
func LoadTLS(caFile, certFile, keyFile string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, err
		}
		if config.RootCAs = x509.NewCertPool(); !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s has no certificate in PEM form", caFile)
		}
	}
	if certFile == "" && keyFile == "" {
		return config, nil
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	config.Certificates = []tls.Certificate{pair}
	return config, err
}

func connect(address string, options []Option) (*grpc.ClientConn, error) {
	given := &settings{insecure.NewCredentials(), map[string]string{}}
	for _, option := range options {
		option(given)
	}
	return grpc.NewClient(address,
		grpc.WithTransportCredentials(given.credentials),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)),
		// The server takes a ping each ten seconds; balancers drop what is silent for a minute or more.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 20 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: firstDelay, Multiplier: 2, Jitter: 0.3, MaxDelay: maxDelay},
			MinConnectTimeout: maxDelay,
		}),
		grpc.WithPerRPCCredentials(given),
		grpc.WithUnaryInterceptor(patient),
	)
}

// GetRequestMetadata adds the metadata, and the depth of nested runs that a program was started with; a lease has its
// own.
func (s *settings) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	sent := maps.Clone(s.metadata)
	given, _ := metadata.FromOutgoingContext(ctx)
	if depth := os.Getenv("MOTET_DEPTH"); depth != "" && len(given.Get(depthKey)) == 0 {
		sent[depthKey] = depth
	}
	return sent, nil
}

// RequireTransportSecurity is false: a token may go to a server on this machine, or through a mesh that encrypts.
func (s *settings) RequireTransportSecurity() bool { return false }

// patient makes errors of this package, and makes calls again that may be made again.
func patient(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn,
	invoke grpc.UnaryInvoker, options ...grpc.CallOption,
) error {
	for try := 1; ; try++ {
		err := asError(invoke(ctx, method, request, reply, conn, options...))
		if try == tries || !errors.Is(err, ErrUnavailable) || !repeatable(method, request) {
			return err
		}
		if delay := wait(try, err); delay > maxDelay || !pause(ctx, delay) {
			return err
		}
	}
}

// repeatable tells whether a call that met UNAVAILABLE may be made again: a read, or a run that its key keeps single.
func repeatable(method string, request any) bool {
	switch request := request.(type) {
	case *motetv1.RunRequest:
		return request.RequestId != ""
	case *motetv1.StartRunRequest:
		return request.GetRequest().GetRequestId() != ""
	}
	return method != motetv1.RunService_CancelRun_FullMethodName
}

// wait is how long to wait before another try: longer each time, and spread, so that the callers of a server that
// restarts do not all come back at once; and not shorter than the server says.
func wait(try int, err error) time.Duration {
	delay := min(maxDelay, firstDelay<<min(try-1, 10))
	delay = delay/2 + rand.N(delay/2+1)
	if failed := (*Error)(nil); errors.As(err, &failed) {
		delay = max(delay, failed.RetryAfter)
	}
	return delay
}

// pause is false when ctx ends before.
func pause(ctx context.Context, delay time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(delay):
		return true
	}
}
