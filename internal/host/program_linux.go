package host

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// searchPath is the caller's PATH, absolute folders only, with the folders behind it where the netfilter tools live. The PATH is
// trusted like in every other program that root runs: who can put a program into it runs as root already. What a program prints
// is not trusted: it is bounded in size and time, parsed strictly, and held against the kernel's own list of tables.
func searchPath() []string {
	var dirs []string
	for _, d := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin") {
		if filepath.IsAbs(d) && !slices.Contains(dirs, d) {
			dirs = append(dirs, d)
		}
	}
	return dirs
}

// lookUp finds the program as execvp would: a file that may not be run counts only if no folder has one that may.
func lookUp(name string, dirs []string) (string, error) {
	if filepath.IsAbs(name) {
		dirs = []string{""}
	} else if strings.ContainsRune(name, '/') {
		return "", unix.EINVAL
	}
	found := error(unix.ENOENT)
	for _, d := range dirs {
		file := filepath.Join(d, name)
		var st unix.Stat_t
		err := unix.Stat(file, &st)
		if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
			continue
		}
		if err == nil {
			err = unix.Access(file, unix.X_OK)
		}
		if err == nil {
			return file, nil
		}
		if errors.Is(err, unix.EACCES) {
			found = err
		}
	}
	return "", found
}

// findProgram finds the first of the alternatives "a|b" that is there and may be run without changing the node.
func findProgram(alternatives string, dirs []string, m *modules) (name, file string, err error) {
	err = unix.ENOENT
	for _, name := range strings.Split(alternatives, "|") {
		file, e := lookUp(name, dirs)
		if e == nil {
			e = harmless(name, file, m)
		}
		if e == nil {
			return name, file, nil
		}
		if !errors.Is(e, unix.ENOENT) {
			err = e
		}
	}
	return "", "", err
}

// harmless holds back a program that would make the kernel load a module, whatever name it goes by: on some nodes
// iptables-save is the one of iptables-nft. Such a program has nothing to show where the module is not there.
func harmless(name, file string, m *modules) error {
	module := ""
	real, err := filepath.EvalSymlinks(file)
	if err != nil {
		return err
	}
	switch base := filepath.Base(real); {
	case base == "nft":
		module = "nf_tables"
	case base == "xtables-nft-multi" && strings.HasSuffix(name, "-save"):
		module = "nft_compat"
	case base == "xtables-nft-multi":
		module = "nfnetlink"
	default:
		return nil
	}
	state := m.state(module)
	if state.err == nil && !state.there {
		return unix.ENOENT
	}
	return state.err
}
