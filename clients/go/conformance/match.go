// What a scenario expects, compared with what was found. Knows no client: all is in the JSON form of protobuf.

package main

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
)

var kinds = []string{
	"runStarted", "groupStarted", "memberStarted", "memberProgress", "memberEnded", "groupEnded", "runEnded",
	"attemptStarted", "attemptEnded",
}

// check gives an error that says where the two differ.
func check(expect, found map[string]any) error {
	wanted, fails := expect["error"].(map[string]any)
	told, failed := found["error"].(map[string]any)
	switch {
	case failed && !fails:
		return fmt.Errorf("failed: %s", quoted(told))
	case fails && !failed:
		return fmt.Errorf("error: expected %s, and the call succeeded", quoted(wanted))
	case fails:
		if err := checkError(wanted, told); err != nil {
			return err
		}
	}
	for _, part := range []string{"result", "response"} {
		if wanted, there := expect[part]; there {
			if err := subset(wanted, found[part], part); err != nil {
				return err
			}
		}
	}
	if wanted, there := expect["events"].(map[string]any); there {
		events, _ := found["events"].([]any)
		if err := checkEvents(wanted, events); err != nil {
			return err
		}
	}
	if wanted, there := expect["answers"].([]any); there {
		answers, _ := found["answers"].([]any)
		return checkAnswers(wanted, answers)
	}
	return nil
}

func checkError(wanted, told map[string]any) error {
	for _, name := range []string{"code", "reason"} {
		if expected, there := wanted[name]; there && told[name] != expected {
			return fmt.Errorf("error.%s: expected %v, found %s", name, expected, quoted(told))
		}
	}
	fields, _ := told["fields"].([]any)
	if field, there := wanted["field"]; there && !slices.Contains(fields, field) {
		return fmt.Errorf("error.field: expected %v, found %s", field, quoted(told))
	}
	return nil
}

func checkEvents(wanted map[string]any, events []any) error {
	seen, gap := make([]any, len(events)), len(events) == 0
	for index, each := range events {
		event, _ := each.(map[string]any)
		seen[index] = kindOf(event)
		gap = gap || event["sequence"] != strconv.Itoa(index+1)
	}
	rest := seen
	expected, _ := wanted["kinds"].([]any)
	for _, kind := range expected {
		at := slices.Index(rest, kind)
		if at < 0 {
			return fmt.Errorf("events.kinds: %v is missing, or not in this order, in %s", kind, quoted(seen))
		}
		rest = rest[at+1:]
	}
	if last, there := wanted["last"]; there && (len(seen) == 0 || seen[len(seen)-1] != last) {
		return fmt.Errorf("events.last: expected %v, found %s", last, quoted(seen))
	}
	if wanted["contiguous"] == true && gap {
		return fmt.Errorf("events.contiguous: there is a gap or a repeat in %s", quoted(events))
	}
	return nil
}

func checkAnswers(wanted, found []any) error {
	if len(wanted) != len(found) {
		return fmt.Errorf("answers: expected %d, found %s", len(wanted), quoted(found))
	}
	left := slices.Clone(found)
	for _, one := range wanted {
		at := slices.IndexFunc(left, func(other any) bool { return subset(one, other, "") == nil })
		if at < 0 {
			return fmt.Errorf("answers: %s is not among %s", quoted(one), quoted(left))
		}
		left = slices.Delete(left, at, at+1)
	}
	return nil
}

// subset gives an error unless everything that is expected is found.
func subset(expected, found any, path string) error {
	switch expected := expected.(type) {
	case map[string]any:
		if _, any := expected["$exists"]; any && len(expected) == 1 {
			if found == nil {
				return fmt.Errorf("%s: found nothing", path)
			}
			return nil
		}
		if pattern, is := expected["$matches"].(string); is && len(expected) == 1 {
			text, _ := found.(string)
			if matched, err := regexp.MatchString(pattern, text); err != nil || !matched {
				return fmt.Errorf("%s: expected text with %s, found %s %v", path, pattern, quoted(found), err)
			}
			return nil
		}
		object, is := found.(map[string]any)
		if !is {
			return fmt.Errorf("%s: expected an object, found %s", path, quoted(found))
		}
		for name, value := range expected {
			if err := subset(value, object[name], path+"."+name); err != nil {
				return err
			}
		}
	case []any:
		list, is := found.([]any)
		if !is || len(list) != len(expected) {
			return fmt.Errorf("%s: expected %d elements, found %s", path, len(expected), quoted(found))
		}
		for index, value := range expected {
			if err := subset(value, list[index], fmt.Sprintf("%s[%d]", path, index)); err != nil {
				return err
			}
		}
	default:
		if !reflect.DeepEqual(expected, found) {
			return fmt.Errorf("%s: expected %s, found %s", path, quoted(expected), quoted(found))
		}
	}
	return nil
}

func kindOf(event map[string]any) string {
	for _, kind := range kinds {
		if _, is := event[kind]; is {
			return kind
		}
	}
	return ""
}

func quoted(value any) string {
	text := fmt.Sprintf("%v", value)
	if len(text) > 300 {
		return fmt.Sprintf("%.300s ... (%d characters)", text, len(text))
	}
	return text
}
