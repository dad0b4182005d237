// Command conformance plays the scenarios of clients/conformance with the Go client and worker against a server, and
// prints one line of JSON for each. It exits with 0 when all were played, also when some failed.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	motet "motet.dev/go"
)

// longest is how long a scenario may take.
const longest = time.Minute

type scenario struct {
	Name       string          `json:"name"`
	Operation  string          `json:"operation"`
	Request    json.RawMessage `json:"request"`
	Inputs     []string        `json:"inputs"`
	DeadlineMS int64           `json:"deadline_ms"`
	Abort      struct {
		Event string `json:"event"`
	} `json:"abort_after"`
	Cancel struct {
		Event string `json:"event"`
	} `json:"cancel_after"`
	Break  int `json:"break_after"`
	Worker struct {
		Agent     string `json:"agent"`
		Behaviour string `json:"behaviour"`
		Capacity  int32  `json:"capacity"`
	} `json:"worker"`
	Expect map[string]any `json:"expect"`
}

type verdict struct {
	Case string `json:"case"`
	OK   bool   `json:"ok"`
	Why  string `json:"why,omitempty"`
}

func main() {
	log.SetFlags(0)
	address := flag.String("address", "", "of the server")
	cases := flag.String("cases", "", "folder of the scenarios")
	only := flag.String("only", "", "name of the one scenario to play")
	flag.Parse()
	if *address == "" || *cases == "" {
		log.Fatal("give --address HOST:PORT and --cases DIR")
	}
	if err := play(*address, *cases, *only); err != nil {
		log.Fatal(err)
	}
}

func play(address, folder, only string) error {
	paths, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil || len(paths) == 0 {
		return fmt.Errorf("no scenarios in %s", folder)
	}
	client, err := motet.NewClient(address)
	if err != nil {
		return err
	}
	defer client.Close()
	lines := json.NewEncoder(os.Stdout)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var given scenario
		if err := json.Unmarshal(text, &given); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if only != "" && given.Name != only {
			continue
		}
		told := verdict{Case: given.Name, OK: true}
		if err := judge(client, address, &given); err != nil {
			told.OK, told.Why = false, err.Error()
		}
		if err := lines.Encode(told); err != nil {
			return err
		}
	}
	return nil
}

func judge(client *motet.Client, address string, given *scenario) error {
	// A timer and not a deadline, which would travel to the agents.
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	defer time.AfterFunc(longest, func() { cancel(fmt.Errorf("it took more than %v", longest)) }).Stop()
	p := &player{client: client, address: address, scenario: given, found: map[string]any{}}
	err := p.play(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if failed := (*motet.Error)(nil); errors.As(err, &failed) {
		p.found["error"] = formOf(failed)
	} else if err != nil {
		return err
	}
	return check(given.Expect, p.found)
}
