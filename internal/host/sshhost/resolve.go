package sshhost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/singleflight"
)

// hop is a host to go to, as the command line of ssh would name it.
type hop struct {
	name    string
	port    int
	user    string
	jump    string // -J
	options []string
}

// resolver asks the system's ssh what it would do for a host. A run of ssh takes some milliseconds, so hosts that differ in
// nothing but the name share one (see classes).
type resolver struct {
	ssh     string // the program; empty: there is none
	file    string // -F
	slots   chan struct{}
	flights singleflight.Group

	mu       sync.Mutex
	answers  map[string]map[string][]string
	defaults map[string][]string
	classes  *classes // of the files that were read; nil: not known yet
	runs     int
}

// maxResolve is how many ssh -G run at the same time.
const maxResolve = 4

func newResolver(file string) *resolver {
	r := &resolver{file: file, slots: make(chan struct{}, maxResolve), answers: map[string]map[string][]string{}}
	if path, err := exec.LookPath("ssh"); err == nil {
		r.ssh = path
	}
	return r
}

// args is the command line without the host's name.
func (r *resolver) args(h hop) []string {
	var args []string
	if r.file != "" {
		args = append(args, "-F", r.file)
	}
	if h.port != 0 {
		args = append(args, "-p", strconv.Itoa(h.port))
	}
	if h.user != "" {
		args = append(args, "-l", h.user)
	}
	if h.jump != "" {
		args = append(args, "-J", h.jump)
	}
	for _, o := range h.options {
		args = append(args, "-o", o)
	}
	return args
}

// resolve finds the configuration of a host.
func (r *resolver) resolve(ctx context.Context, h hop) (*config, error) {
	if r.ssh == "" {
		return resolveAlone(r.file, h)
	}
	defaults, err := r.plain(ctx)
	if err != nil {
		return nil, err
	}
	args := r.args(h)
	own := strings.Join(append(slices.Clone(args), h.name), "\x00")
	key, shared := own, false
	r.first(ctx, h, own)
	if class, ok := r.class(h); ok {
		key, shared = classKey(args, class), true
	}
	values, err := r.cached(ctx, key, append(slices.Clone(args), "--", h.name))
	if err != nil {
		return nil, err
	}
	return &config{values: values, defaults: defaults, name: h.name, shared: shared}, nil
}

func classKey(args []string, class string) string {
	return strings.Join(append(slices.Clone(args), "", class), "\x00")
}

// first lets one host ask before all others, since its answer tells which files there are.
func (r *resolver) first(ctx context.Context, h hop, own string) {
	r.mu.Lock()
	known := r.classes != nil
	r.mu.Unlock()
	if known {
		return
	}
	_, _, _ = r.flights.Do("first", func() (any, error) {
		args := r.args(h)
		values, err := r.cached(ctx, own, append(slices.Clone(args), "--", h.name))
		if class, ok := r.class(h); ok && err == nil {
			r.keep(classKey(args, class), values)
		}
		return values, err
	})
}

func (r *resolver) keep(key string, values map[string][]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers[key] = values
}

func (r *resolver) class(h hop) (string, bool) {
	r.mu.Lock()
	c := r.classes
	r.mu.Unlock()
	if c == nil {
		return "", false
	}
	return c.of(h)
}

// plain is what ssh does without a configuration: it tells defaults from wishes.
func (r *resolver) plain(ctx context.Context) (map[string][]string, error) {
	r.mu.Lock()
	defaults := r.defaults
	r.mu.Unlock()
	if defaults != nil {
		return defaults, nil
	}
	defaults, err := r.cached(ctx, "defaults", []string{"-F", "none", "--", "localhost"})
	if err == nil {
		r.mu.Lock()
		r.defaults = defaults
		r.mu.Unlock()
	}
	return defaults, err
}

// cached runs ssh -G once per key.
func (r *resolver) cached(ctx context.Context, key string, args []string) (map[string][]string, error) {
	for {
		r.mu.Lock()
		values, ok := r.answers[key]
		r.mu.Unlock()
		if ok {
			return values, nil
		}
		v, err, shared := r.flights.Do(key, func() (any, error) {
			values, err := r.run(ctx, args)
			if err == nil {
				r.keep(key, values)
			}
			return values, err
		})
		switch {
		case err == nil:
			return v.(map[string][]string), nil
		case shared && ctx.Err() == nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)):
			// The context that ended was another host's.
		default:
			return nil, err
		}
	}
}

// run runs ssh -G. With -v it names the files that it read.
func (r *resolver) run(ctx context.Context, args []string) (map[string][]string, error) {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	r.mu.Lock()
	r.runs++
	r.mu.Unlock()
	cmd := exec.CommandContext(ctx, r.ssh, append([]string{"-G", "-v"}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("ssh -G: %s", complaint(errs.String(), err))
	}
	values := parseConfig(out.String())
	if len(values["hostname"]) != 1 {
		return nil, fmt.Errorf("ssh -G: no host name in its answer")
	}
	r.learn(errs.String())
	return values, nil
}

// complaint is what ssh said, without the lines of -v.
func complaint(stderr string, err error) string {
	var lines []string
	for line := range strings.Lines(stderr) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "debug1: ") && !strings.HasPrefix(line, "OpenSSH_") && !strings.HasPrefix(line, "Pseudo-terminal") {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return err.Error()
	}
	return printable(strings.Join(lines, "; "), 300)
}

const readingFile = "debug1: Reading configuration data "

// learn scans the files that ssh named, once they differ from those that are known.
func (r *resolver) learn(stderr string) {
	var files []string
	for line := range strings.Lines(stderr) {
		if name, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), readingFile); ok {
			files = append(files, name)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(files) == 0 && r.defaults == nil && r.classes == nil {
		return // perhaps the run without a configuration
	}
	if r.classes == nil {
		r.classes = scanConfig(files, os.ReadFile)
	}
}
