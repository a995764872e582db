// Package nftversions fetches Debian's nft of several releases, so that what the text reader (internal/collect/nftables) makes of an
// nft's output is held against each of them and not only against the one that is installed. The packages come verified from the
// archive that this machine's apt uses, are unpacked beside each other and run with their own libraries; nothing is installed.
package nftversions

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/ctaudit/ctaudit/internal/lab/archive"
)

// Release is an nft, and the libraries that it runs with.
type Release struct {
	Suite string // of the Debian archive
	// Libraries is the suite of all libraries but nft's own; empty: the same. libnftnl is what prints expressions, and other
	// distributions have it in other versions beside the same nft.
	Libraries string
}

// All are the releases of the matrix, oldest first: what the archive has, and the pairs that lie between. No Debian suite has the
// pairs of Ubuntu 22.04 (1.0.2 with libnftnl 1.2.1) and 24.04 (1.0.9 with 1.2.6): see internal/collect/nftables/text_versions.go.
func All() []Release {
	return []Release{
		{Suite: "bullseye"},                        // 0.9.8, libnftnl 1.1.9
		{Suite: "bullseye", Libraries: "bookworm"}, // 0.9.8, 1.2.4
		{Suite: "bookworm"},                        // 1.0.6, 1.2.4
		{Suite: "bookworm", Libraries: "trixie"},   // 1.0.6, 1.2.9
		{Suite: "trixie"},                          // 1.1.3, 1.2.9
		{Suite: "trixie", Libraries: "sid"},        // 1.1.3, 1.3.2
		{Suite: "sid"},                             // 1.1.7, 1.3.2; it moves on
	}
}

// Program is an nft that runs.
type Program struct {
	Path    string // of a script
	Version string // "nft 1.1.7-3, libnftnl 1.3.2-1"
}

// wanted is nft with what it is linked with.
var wanted = regexp.MustCompile(`^(nftables|libc6|lib(nftables|nftnl|mnl|jansson|gmp|xtables|edit|bsd|md|tinfo|readline)[0-9.]*(t64)?)$`)

// Fetch returns a release's nft, out of the cache folder or else out of the archive. The error is [archive.ErrNone] where there is no
// archive.
func Fetch(ctx context.Context, r Release, cache string) (*Program, error) {
	own, err := unpack(ctx, r.Suite, cache)
	if err != nil {
		return nil, fmt.Errorf("fetch nft of %s: %w", r.Suite, err)
	}
	libraries, err := unpack(ctx, cmp.Or(r.Libraries, r.Suite), cache)
	if err != nil {
		return nil, fmt.Errorf("fetch libraries of %s: %w", r.Libraries, err)
	}
	dir := filepath.Join(cache, "run", r.Suite+"-"+cmp.Or(r.Libraries, r.Suite))
	path, err := script(dir, own, libraries)
	if err != nil {
		return nil, fmt.Errorf("nft of %s: %w", r.Suite, err)
	}
	return &Program{Path: path, Version: "nft " + own.version("nftables") + ", libnftnl " + libraries.version("libnftnl11")}, nil
}

// unpacked are packages of a suite.
type unpacked struct {
	debs []string
	root string
}

func unpack(ctx context.Context, suite, cache string) (*unpacked, error) {
	dir := filepath.Join(cache, suite)
	r := archive.Request{Suite: suite, Package: "nftables", Wanted: wanted, MaxAge: 24 * time.Hour}
	debs, err := archive.Fetch(ctx, r, dir)
	if err != nil {
		return nil, err
	}
	u := &unpacked{debs, filepath.Join(dir, "root")}
	if err := os.RemoveAll(u.root); err != nil {
		return nil, err
	}
	for _, deb := range debs {
		if _, err := archive.Run(exec.CommandContext(ctx, "dpkg-deb", "-x", deb, u.root)); err != nil {
			return nil, err
		}
	}
	return u, nil
}

// version is that of a package, out of its file's name.
func (u *unpacked) version(name string) string {
	for _, deb := range u.debs {
		if f := strings.Split(filepath.Base(deb), "_"); len(f) == 3 && f[0] == name {
			return f[1]
		}
	}
	return "?"
}

// file finds a library: where it lies differs between suites.
func (u *unpacked) file(name string) (string, error) {
	for _, dir := range []string{"usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"} {
		if path := filepath.Join(u.root, dir, name); exists(path) {
			return path, nil
		}
	}
	return "", errors.New("no " + name + " in its packages")
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// script writes what starts nft by the dynamic loader of the libraries' suite.
func script(dir string, own, libraries *unpacked) (string, error) {
	loader, err := libraries.file("ld-linux-x86-64.so.2")
	if err != nil {
		return "", err
	}
	nft, err := own.file("libnftables.so.1")
	if err != nil {
		return "", err
	}
	content, err := os.ReadFile(nft)
	if err != nil {
		return "", err
	}
	paths := []string{dir, filepath.Join(libraries.root, "usr/lib/x86_64-linux-gnu"), filepath.Join(libraries.root, "lib/x86_64-linux-gnu")}
	text := fmt.Sprintf("#!/bin/sh\nexec '%s' --library-path '%s' '%s' \"$@\"\n", loader, strings.Join(paths, ":"), filepath.Join(own.root, "usr/sbin/nft"))
	path := filepath.Join(dir, "nft")
	return path, errors.Join(
		os.MkdirAll(dir, 0o755),
		os.WriteFile(filepath.Join(dir, "libnftables.so.1"), content, 0o644),
		os.WriteFile(path, []byte(text), 0o755),
	)
}
