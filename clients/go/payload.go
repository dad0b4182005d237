// From Go values to payloads, and to the requests that have them.

package motet

import (
	"encoding/json"
	"unicode/utf8"

	"google.golang.org/grpc/codes"

	motetv1 "motet.dev/go/motet/v1"
)

// Group is the request to run a group of the server's catalog. The request's other fields may be set on it.
func Group(name string, input *motetv1.Payload) *motetv1.RunRequest {
	return &motetv1.RunRequest{Target: &motetv1.RunRequest_GroupName{GroupName: name}, Input: input}
}

// Plan is the request to run a plan over agents of the server's catalog.
func Plan(plan *motetv1.Plan, input *motetv1.Payload) *motetv1.RunRequest {
	return &motetv1.RunRequest{Target: &motetv1.RunRequest_Plan{Plan: plan}, Input: input}
}

// Text is a payload of plain text.
func Text(text string) *motetv1.Payload {
	return &motetv1.Payload{Kind: &motetv1.Payload_Text{Text: text}}
}

// Encode makes a payload: a string is text, a []byte is bytes, a payload is itself, all else is written as JSON.
func Encode(value any) (*motetv1.Payload, error) {
	switch value := value.(type) {
	case *motetv1.Payload:
		return value, nil
	case []byte:
		return &motetv1.Payload{Kind: &motetv1.Payload_Data{Data: value}}, nil
	case string:
		if !utf8.ValidString(value) {
			return nil, fail(codes.InvalidArgument, "INVALID_REQUEST", "a string that is not UTF-8; send it as []byte")
		}
		return Text(value), nil
	}
	written, err := json.Marshal(value)
	if err != nil {
		return nil, fail(codes.InvalidArgument, "INVALID_REQUEST", err.Error())
	}
	return &motetv1.Payload{Kind: &motetv1.Payload_Json{Json: string(written)}}, nil
}
