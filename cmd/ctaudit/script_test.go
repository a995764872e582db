package main

import (
	"context"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// The scripts in testdata/script are the manual's tests: one user story each.

func TestMain(m *testing.M) {
	program := func(run func(context.Context, []string, []string, streams) error) func() {
		return func() {
			ctx, stop := signalContext(context.Background())
			defer stop()
			err := run(ctx, os.Args[1:], os.Environ(), streams{os.Stdin, os.Stdout, os.Stderr})
			os.Exit(exitCode(ctx, err, os.Stderr))
		}
	}
	testscript.Main(m, map[string]func(){"ctaudit": program(run), "ctaudit-played": program(runPlayed)})
}

func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			dir, err := os.Getwd()
			if err != nil {
				return err
			}
			e.Setenv("SNAPSHOTS", dir+"/testdata/snapshots")
			e.Setenv("RECORDINGS", dir+"/testdata/fleet")
			e.Setenv("LANG", "C.UTF-8")
			return nil
		},
	})
}
