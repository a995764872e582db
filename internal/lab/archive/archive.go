package kernels

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

	"github.com/google/renameio/v2"
)

// ErrNoArchive: this machine has no apt, or its apt has no Debian archive that answers.
var ErrNoArchive = errors.New("no Debian archive")

// keyring has the keys of all suites; the ones that apt trusts anyway need not have those of older ones.
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// kernelPackages carry the kernel and its modules; which of them do differs between suites.
var kernelPackages = regexp.MustCompile(`^linux-(image|binary|modules|base)-[0-9]`)

// download returns the kernel's packages in dir. A whole earlier download is used as it is.
func download(ctx context.Context, k Kernel, dir string) ([]string, error) {
	complete := filepath.Join(dir, "complete")
	if list, err := os.ReadFile(complete); err == nil {
		return within(dir, strings.Fields(string(list))), nil
	}
	uri, err := mirror(ctx)
	if err != nil {
		return nil, err
	}
	if err := configure(k, dir, uri); err != nil {
		return nil, err
	}
	if _, err := apt(ctx, dir, "apt-get", "update", "-q", "--error-on=any"); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoArchive, err)
	}
	names, err := resolve(ctx, dir)
	if err != nil {
		return nil, err
	}
	if _, err := apt(ctx, dir, "apt-get", append([]string{"download", "-q"}, names...)...); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoArchive, err)
	}
	debs, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(debs) != len(names) {
		return nil, fmt.Errorf("%d packages came of %v", len(debs), names)
	}
	var list strings.Builder
	for _, deb := range debs {
		list.WriteString(filepath.Base(deb) + "\n")
	}
	return debs, renameio.WriteFile(complete, []byte(list.String()), 0o644)
}

func within(dir string, names []string) (paths []string) {
	for _, name := range names {
		paths = append(paths, filepath.Join(dir, filepath.Base(name)))
	}
	return paths
}

// mirror is the Debian archive of this machine's apt, whichever suites it uses of it.
func mirror(ctx context.Context) (string, error) {
	out, err := run(exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"))
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoArchive, err)
	}
	for _, uri := range strings.Fields(string(out)) {
		if path.Base(strings.TrimRight(uri, "/")) == "debian" {
			return uri, nil
		}
	}
	return "", fmt.Errorf("%w among this machine's apt sources", ErrNoArchive)
}

// configure lays out an apt of its own in dir: one source, its own lists and cache, an empty system. The machine's
// configuration is read before it (it may name a proxy), and what would act on the machine or load more lists is cleared.
func configure(k Kernel, dir, uri string) error {
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
		os.WriteFile(filepath.Join(dir, "apt", "sources.list"), []byte("deb "+option+uri+" "+k.Suite+" main\n"), 0o644),
		os.WriteFile(filepath.Join(dir, "apt", "apt.conf"), []byte(conf), 0o644),
	)
}

// resolve names the packages that the suite's newest kernel consists of.
func resolve(ctx context.Context, dir string) ([]string, error) {
	out, err := apt(ctx, dir, "apt-cache", "depends", "--recurse", "--important", Package)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoArchive, err)
	}
	var names []string
	for _, word := range strings.Fields(string(out)) {
		if kernelPackages.MatchString(word) {
			names = append(names, word)
		}
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) == 0 {
		return nil, fmt.Errorf("%w: it has no %s", ErrNoArchive, Package)
	}
	return names, nil
}

func apt(ctx context.Context, dir, program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, program, append([]string{"-c", filepath.Join(dir, "apt", "apt.conf")}, args...)...)
	cmd.Dir = dir
	return run(cmd)
}

// run returns what the program printed; its error has what it said on standard error.
func run(cmd *exec.Cmd) ([]byte, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args[:min(len(cmd.Args), 4)], " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}
