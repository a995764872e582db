package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ctaudit/ctaudit/fleet"
	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/collect/registry"
	"github.com/ctaudit/ctaudit/internal/host/sshhost"
	"github.com/ctaudit/ctaudit/internal/host/sshhost/sshtest"
)

// TestSpeedRole is what TestFleetSpeed runs in processes of their own.
func TestSpeedRole(t *testing.T) {
	role := map[string]func(*testing.T){"serve": speedServe, "bare": speedBare, "collect": speedCollect, "audit": speedAudit}[os.Getenv("SPEED_ROLE")]
	if role == nil {
		return // nobody asks
	}
	if path := os.Getenv("SPEED_PROFILE"); path != "" {
		f, err := os.Create(path + "." + os.Getenv("SPEED_ROLE"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		_ = pprof.StartCPUProfile(f)
		defer pprof.StopCPUProfile()
		allocs, err := os.Create(f.Name() + ".allocs")
		if err != nil {
			t.Fatal(err)
		}
		defer allocs.Close()
		defer func() { _ = pprof.Lookup("allocs").WriteTo(allocs, 0) }()
	}
	role(t)
}

// serve starts the servers.
func (f *speedFleet) serve() {
	t := f.t
	cmd := exec.Command(os.Args[0], "-test.run", "^TestSpeedRole$")
	cmd.Env = append(os.Environ(), "SPEED_ROLE=serve", "SPEED_ANSWERS="+f.dir)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait()
		t.Logf("servers: %s of processor time", cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	words := strings.Split(strings.TrimSpace(line), "\t")
	if err != nil || len(words) != 3 {
		t.Fatalf("the servers say %q: %v", line, err)
	}
	f.port, f.key, f.public = words[0], words[1], words[2]
	var known strings.Builder
	for i := range max(*speedHosts, *speedOthers) {
		fmt.Fprintf(&known, "[%s]:%s %s\n", speedAddress(i), f.port, f.public)
	}
	f.config = sshtest.Config(t, f.key, known.String())
}

// speedAddress is a host's.
func speedAddress(i int) string { return fmt.Sprintf("127.1.%d.%d", i/250, 1+i%250) }

// speedServe is the servers, until the end of standard input. Connections get one answer after the other.
func speedServe(t *testing.T) {
	files, _ := filepath.Glob(os.Getenv("SPEED_ANSWERS") + "/answer*") // the pattern is right
	var answers []*sshtest.Packed
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		a, err := sshtest.ParseAnswer(text)
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, a.Pack())
	}
	defer (&app{env: map[string]string{}}).fleetMemory()()
	var n atomic.Int64
	s := sshtest.Serve(t, func(command string, in io.Reader, out, errs io.Writer) uint32 {
		return answers[n.Add(1)%int64(len(answers))].Canned(command, in, out, errs)
	})
	fmt.Printf("%d\t%s\t%s\n", s.Everywhere(t), s.Key.Path, sshtest.Public(s.HostKey))
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// speedBare is the least that the library can do: key exchange, login, the script in, the answer out.
func speedBare(t *testing.T) {
	script, err := os.ReadFile(os.Getenv("SPEED_SCRIPT"))
	if err != nil {
		t.Fatal(err)
	}
	names, err := os.ReadFile(os.Getenv("SPEED_ADDRESSES"))
	if err != nil {
		t.Fatal(err)
	}
	bare := sshtest.NewBare(t, os.Getenv("SPEED_KEY"), os.Getenv("SPEED_PUBLIC"))
	defer (&app{env: map[string]string{}}).fleetMemory()()
	todo := make(chan string)
	var all sync.WaitGroup
	for range fleet.StartPerCore * 2 {
		all.Go(func() {
			for address := range todo {
				if err := bareOne(bare, address, script); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for line := range strings.Lines(string(names)) {
		todo <- strings.TrimSpace(line)
	}
	close(todo)
	all.Wait()
}

func bareOne(bare sshtest.Bare, address string, script []byte) error {
	out, err := bare.Run(address, script)
	if err == nil && !bytes.Contains(out, []byte("ctaudit-probe ")) {
		err = fmt.Errorf("no answer: %.80q", out)
	}
	return err
}

// speedCollect reads the hosts into snapshots, as an audit does, and forgets them.
func speedCollect(t *testing.T) {
	ff := &fleetFlags{inventory: inventoryFlags{sources: []string{os.Getenv("SPEED_INVENTORY")}}}
	targets, _, err := ff.inventory.targets(nil)
	if err != nil {
		t.Fatal(err)
	}
	way, err := overSSH(sshhost.Options{ConfigFile: os.Getenv("SPEED_CONFIG")})
	if err != nil {
		t.Fatal(err)
	}
	defer (&app{env: map[string]string{}}).fleetMemory()()
	readers, err := collect.Prepare(registry.All(), nil)
	if err != nil {
		t.Fatal(err)
	}
	read := func(ctx context.Context, target fleet.Target) (string, error) {
		doc, _, err := readers.Run(ctx, way.host(target), ff.collectOptions(target))
		if err == nil && len(doc.Collectors) == 0 {
			err = errors.New("an empty snapshot")
		}
		return "", err
	}
	for out := range fleet.Run(t.Context(), targets, fleet.Options{}, read, nil) {
		if out.Err != nil {
			t.Error(out.Err)
		}
	}
	if err := way.close(); err != nil {
		t.Error(err)
	}
}

// speedAudit is the whole program in the tests' binary, for profiles.
func speedAudit(t *testing.T) {
	a := &app{streams: streams{os.Stdin, io.Discard, os.Stderr}, env: map[string]string{}, reach: overSSH}
	args := strings.Split(os.Getenv("SPEED_ARGS"), "\n")
	if code := exitCode(t.Context(), a.run(t.Context(), args), os.Stderr); code != exitFindings {
		t.Errorf("exit %d", code)
	}
}
