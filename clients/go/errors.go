// What a call that did not come through is told with. Knows the google.rpc details that Motet sends, and no call.

package motet

import (
	"context"
	"errors"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	motetv1 "motet.dev/go/motet/v1"
)

// Error is every error of a call. Find it with [errors.As], or compare with one of the Err values by [errors.Is]. A
// function of a [Worker] returns one to fail its call with a reason of its own.
type Error struct {
	// Code is the gRPC status; OK in the error of [Answer], which is about a run that did not succeed.
	Code codes.Code
	// Reason is stable and upper case: the server's own, or the code's name where it gave none.
	Reason string
	// Message is one sentence for a person.
	Message string
	// Violations are the wrong fields, or the bounds that are used up. Empty when no field is at fault.
	Violations []Violation
	// RetryAfter is how long to wait before trying again. Zero when the server did not say.
	RetryAfter time.Duration
	// Retryable says that the same again may help: always so where there is a RetryAfter.
	Retryable bool
	// Metadata are facts by name.
	Metadata map[string]string

	cause error
}

// Violation is one wrong field of a request by its path, such as plan.group.members[0].timeout, or one bound by its
// subject, and what is wrong with it.
type Violation struct{ Field, Message string }

// What [errors.Is] compares by code. Each says whose fault it is: the request's, the server's state, a bound, the way
// there.
var (
	ErrInvalidArgument    = &Error{Code: codes.InvalidArgument}
	ErrNotFound           = &Error{Code: codes.NotFound}
	ErrFailedPrecondition = &Error{Code: codes.FailedPrecondition}
	ErrResourceExhausted  = &Error{Code: codes.ResourceExhausted}
	ErrUnavailable        = &Error{Code: codes.Unavailable}
)

func (e *Error) Error() string { return e.Reason + ": " + e.Message }

func (e *Error) Unwrap() error { return e.cause }

// Is tells whether target is an [Error] with the same code and reason, of which it may leave out either, or the error
// of a context that ends calls with this code.
func (e *Error) Is(target error) bool {
	if like, ok := target.(*Error); ok {
		return (like.Code == codes.OK || like.Code == e.Code) && (like.Reason == "" || like.Reason == e.Reason)
	}
	return target == context.Canceled && e.Code == codes.Canceled ||
		target == context.DeadlineExceeded && e.Code == codes.DeadlineExceeded
}

// Answer gives a run's output, or an [Error] with the reason of its failure.
func Answer(result *motetv1.RunResult) (*motetv1.Payload, error) {
	if failure := result.GetFailure(); failure != nil {
		return nil, &Error{Reason: failure.Reason, Message: failure.Message}
	}
	return result.GetOutput(), nil
}

// asError makes a failed call's error an *Error, and leaves nil as it is.
func asError(err error) error {
	if failed := (*Error)(nil); err == nil || errors.As(err, &failed) {
		return err
	}
	told := status.Convert(err)
	made := &Error{Code: told.Code(), Reason: bareReason(told.Code()), Message: told.Message(), cause: err}
	for _, detail := range told.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			made.Reason, made.Metadata = detail.Reason, detail.Metadata
		case *errdetails.BadRequest:
			for _, each := range detail.FieldViolations {
				made.Violations = append(made.Violations, Violation{each.Field, each.Description})
			}
		case *errdetails.QuotaFailure:
			for _, each := range detail.Violations {
				made.Violations = append(made.Violations, Violation{each.Subject, each.Description})
			}
		case *errdetails.RetryInfo:
			made.RetryAfter = detail.RetryDelay.AsDuration()
		}
	}
	made.Retryable = made.Code == codes.Unavailable || made.RetryAfter > 0
	return made
}

func bareReason(of codes.Code) string { return code.Code(of).String() }

func fail(of codes.Code, reason, message string) error {
	return &Error{Code: of, Reason: reason, Message: message}
}
