// Command worker is the Go member: on which day of the week a date falls, by the standard library. Usage: worker ADDRESS
package main

import (
	"context"
	"log"
	"os"
	"strconv"
	"syscall"
	"time"

	motet "motet.dev/go"
	motetv1 "motet.dev/go/motet/v1"
)

func weekday(ctx context.Context, call *motet.Call) (any, error) {
	if err := call.Report("looks at the calendar"); err != nil {
		return nil, err
	}
	pause, _ := strconv.ParseFloat(call.GetVariables()["pause"].GetJson(), 64)
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(time.Duration(pause * float64(time.Second))):
	}
	day, err := time.Parse(time.DateOnly, call.GetInput().GetText())
	return day.Weekday().String(), err
}

func main() {
	worker := motet.NewWorker(os.Args[1])
	worker.ID = "go"
	worker.Handle(&motetv1.WorkerAgent{Name: "go", Version: "1", Capacity: 4}, weekday)
	if err := worker.Run(context.Background(), syscall.SIGTERM, syscall.SIGINT); err != nil {
		log.Fatal(err)
	}
}
