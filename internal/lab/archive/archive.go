// Package archive fetches packages of any Debian suite for the lab: from the archive that this machine's apt uses, verified by apt,
// with an apt of their own in a folder of their own. Nothing is installed; nothing but that folder changes.
package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"
)

// ErrNone: this machine has no apt, or its apt has no Debian archive that answers.
var ErrNone = errors.New("no Debian archive")

// keyring has the keys of all suites; the ones that apt trusts anyway need not have those of older ones.
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// Request is what to fetch.
type Request struct {
	Suite   string
	Package string
	// Wanted says which of the packages that Package consists of or depends on are fetched.
	Wanted *regexp.Regexp
	// MaxAge of an earlier download, for suites that move on; 0: it stays as it is.
	MaxAge time.Duration
}

// CacheDir is where packages of a kind are kept when nobody says otherwise.
func CacheDir(kind string) (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("cache folder: %w", err)
	}
	return filepath.Join(dir, "ctaudit", kind), nil
}

// Fetch returns the packages' files, in dir. A whole earlier download is used as it is.
func Fetch(ctx context.Context, r Request, dir string) ([]string, error) {
	if debs, ok := fetched(r, dir); ok {
		return debs, nil
	}
	if err := forget(dir); err != nil {
		return nil, err
	}
	uri, err := mirror(ctx)
	if err != nil {
		return nil, err
	}
	if err := configure(r.Suite, dir, uri); err != nil {
		return nil, err
	}
	if _, err := apt(ctx, dir, "apt-get", "update", "-q", "--error-on=any"); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	names, err := resolve(ctx, r, dir)
	if err != nil {
		return nil, err
	}
	if _, err := apt(ctx, dir, "apt-get", append([]string{"download", "-q"}, names...)...); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	debs, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(debs) != len(names) {
		return nil, fmt.Errorf("%d packages came of %v", len(debs), names)
	}
	var list strings.Builder
	for _, deb := range debs {
		list.WriteString(filepath.Base(deb) + "\n")
	}
	return debs, renameio.WriteFile(filepath.Join(dir, complete), []byte(list.String()), 0o644)
}

// complete is the file that lists a whole download.
const complete = "complete"

func fetched(r Request, dir string) ([]string, bool) {
	st, err := os.Stat(filepath.Join(dir, complete))
	if err != nil || r.MaxAge > 0 && time.Since(st.ModTime()) > r.MaxAge {
		return nil, false
	}
	list, err := os.ReadFile(filepath.Join(dir, complete))
	return within(dir, strings.Fields(string(list))), err == nil
}

// forget removes what an earlier download left: packages of other versions would stand beside the new ones.
func forget(dir string) error {
	debs, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	for _, name := range append(debs, filepath.Join(dir, complete)) {
		if gone := os.Remove(name); !errors.Is(gone, os.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}
	return err
}

func within(dir string, names []string) (paths []string) {
	for _, name := range names {
		paths = append(paths, filepath.Join(dir, filepath.Base(name)))
	}
	return paths
}

// mirror is the Debian archive of this machine's apt, whichever suites it uses of it.
func mirror(ctx context.Context) (string, error) {
	out, err := Run(exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"))
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNone, err)
	}
	for _, uri := range strings.Fields(string(out)) {
		if path.Base(strings.TrimRight(uri, "/")) == "debian" {
			return uri, nil
		}
	}
	return "", fmt.Errorf("%w among this machine's apt sources", ErrNone)
}

// configure lays out an apt of its own in dir: one source, its own lists and cache, an empty system. The machine's
// configuration is read before it (it may name a proxy), and what would act on the machine or load more lists is cleared.
func configure(suite, dir, uri string) error {
	for _, sub := range []string{"lists/partial", "archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, "apt", sub), 0o755); err != nil {
			return err
		}
	}
	option := ""
	if _, err := os.Stat(keyring); err == nil {
		option = "[signed-by=" + keyring + "] "
	}
	conf := fmt.Sprintf(`#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear Acquire::IndexTargets::deb::DEP-11;
#clear Acquire::IndexTargets::deb::DEP-11-icons;
#clear Acquire::IndexTargets::deb::DEP-11-icons-small;
#clear Acquire::IndexTargets::deb::Contents-deb;
Dir::State %[1]q;
Dir::State::lists "lists";
Dir::State::status %[2]q;
Dir::Cache %[1]q;
Dir::Etc::sourcelist %[3]q;
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Acquire::Languages "none";
Acquire::Retries "2";
APT::Architecture "amd64";
APT::Architectures "amd64";
APT::Sandbox::User "root";
`, filepath.Join(dir, "apt"), filepath.Join(dir, "apt", "status"), filepath.Join(dir, "apt", "sources.list"))
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "apt", "status"), nil, 0o644),
		os.WriteFile(filepath.Join(dir, "apt", "sources.list"), []byte("deb "+option+uri+" "+suite+" main\n"), 0o644),
		os.WriteFile(filepath.Join(dir, "apt", "apt.conf"), []byte(conf), 0o644),
	)
}

// resolve names the packages of the suite that are wanted.
func resolve(ctx context.Context, r Request, dir string) ([]string, error) {
	out, err := apt(ctx, dir, "apt-cache", "depends", "--recurse", "--important", r.Package)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	var names []string
	for _, word := range strings.Fields(string(out)) {
		if r.Wanted.MatchString(word) {
			names = append(names, word)
		}
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) == 0 {
		return nil, fmt.Errorf("%w: it has no %s", ErrNone, r.Package)
	}
	return names, nil
}

func apt(ctx context.Context, dir, program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, program, append([]string{"-c", filepath.Join(dir, "apt", "apt.conf")}, args...)...)
	cmd.Dir = dir
	return Run(cmd)
}

// Run returns what the program printed; its error has what it said on standard error.
func Run(cmd *exec.Cmd) ([]byte, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args[:min(len(cmd.Args), 4)], " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}
