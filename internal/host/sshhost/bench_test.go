package sshhost_test

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
	"golang.org/x/sys/unix"

	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/collect/registry"
	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/host/sshhost"
	"github.com/ctaudit/ctaudit/internal/host/sshhost/sshtest"
)

const serverEnv = "SSHHOST_BENCH_SERVER"

// canned is an answer of the size of a small node's.
func canned() []byte { return bytes.Repeat([]byte("0123456789abcdef"), 1<<10) }

// otherProcess starts the servers in a process of their own, so that the figures are of the asking side alone. It returns the
// port, the path of the key, and the host's public key.
func otherProcess(b *testing.B) (port int, key, public string) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestBenchServer$")
	cmd.Env = append(os.Environ(), serverEnv+"=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	words := strings.Split(strings.TrimSpace(line), "\t")
	if _, err := fmt.Sscan(words[0], &port); err != nil || len(words) != 3 {
		b.Fatalf("%q: %v", line, err)
	}
	return port, words[1], words[2]
}

// TestBenchServer is the other process.
func TestBenchServer(t *testing.T) {
	if os.Getenv(serverEnv) == "" {
		return // nobody asks
	}
	answer := canned()
	s := sshtest.Serve(t, func(_ string, in io.Reader, out, _ io.Writer) uint32 {
		script, _ := io.ReadAll(in)
		if i := bytes.Index(script, []byte("ctaudit-shell ")); i >= 0 {
			io.WriteString(out, "\nctaudit-shell "+strings.Fields(string(script[i:]))[2]+"\n")
		}
		out.Write(answer)
		return 0
	})
	fmt.Printf("%d\t%s\t%s\n", s.Port, s.Key.Path, sshtest.Public(s.HostKey))
	io.Copy(io.Discard, os.Stdin)
}

// request is all that an audit reads.
func request() host.Request { return host.Request{Needs: collect.NeedsOf(registry.All())} }

// BenchmarkBare is the least that the library can do: key exchange, login, one command.
func BenchmarkBare(b *testing.B) {
	port, key, public := otherProcess(b)
	bare := sshtest.NewBare(b, key, public)
	address := fmt.Sprintf("127.0.0.1:%d", port)
	script := bytes.Repeat([]byte("# a script\n"), 2000)
	hosts(b, func() error {
		out, err := bare.Run(address, script)
		if err == nil && len(out) < len(canned()) {
			err = fmt.Errorf("%d bytes", len(out))
		}
		return err
	})
}

// BenchmarkFetch is ours, with the script of an audit, with more or less in known_hosts.
func BenchmarkFetch(b *testing.B) {
	for _, known := range []int{1, 10_000} {
		b.Run(fmt.Sprintf("known=%d", known), func(b *testing.B) { benchmarkFetch(b, known, sshhost.Options{}) })
	}
}

func benchmarkFetch(b *testing.B, known int, opts sshhost.Options) {
	port, key, public := otherProcess(b)
	var lines strings.Builder
	for i := range known - 1 {
		fmt.Fprintf(&lines, "node%d %s\n", i, public)
	}
	fmt.Fprintf(&lines, "[127.0.0.1]:%d %s\n", port, public)
	opts.ConfigFile = sshtest.Config(b, key, lines.String())
	c, err := sshhost.New(opts)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	c.SetReader(func(r io.Reader, _ host.Request, _ string, _ int64) (*host.Evidence, error) {
		n, err := io.Copy(io.Discard, r)
		if n < int64(len(canned())) {
			return nil, fmt.Errorf("%d bytes: %w", n, err)
		}
		return &host.Evidence{}, err
	})
	req := request()
	var n atomic.Int64
	hosts(b, func() error {
		t := sshhost.Target{Name: fmt.Sprintf("node%d", n.Add(1)), Address: "127.0.0.1", Port: port}
		_, err := c.Host(t).Fetch(b.Context(), req)
		return err
	})
}

// hosts runs one function a host, eight at a time, and reports the CPU time of this process.
func hosts(b *testing.B, one func() error) {
	if err := one(); err != nil {
		b.Fatal(err)
	}
	before := cpu()
	b.ReportAllocs()
	b.ResetTimer()
	var all sync.WaitGroup
	var next atomic.Int64
	for range 8 {
		all.Go(func() {
			for next.Add(1) <= int64(b.N) {
				if err := one(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.StopTimer()
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

// cpu is the processor time of this process.
func cpu() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkHashedNames looks five thousand hosts up among as many hashed lines, each once.
func BenchmarkHashedNames(b *testing.B) {
	const hosts = 5_000
	_, key, _ := ed25519.GenerateKey(nil)
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		b.Fatal(err)
	}
	var text strings.Builder
	for i := range hosts {
		fmt.Fprintf(&text, "%s %s\n", knownhosts.HashHostname(fmt.Sprintf("node%d", i)), sshtest.Public(signer))
	}
	file := filepath.Join(b.TempDir(), "known_hosts")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	before := cpu()
	for b.Loop() {
		db, err := sshhost.ParseKnownHosts([]string{file})
		if err != nil {
			b.Fatal(err)
		}
		for i := range hosts {
			if n := db.Known(fmt.Sprintf("node%d", i)); n != 1 {
				b.Fatalf("%d lines for node%d", n, i)
			}
		}
	}
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N)/hosts, "cpu-µs/host")
}
