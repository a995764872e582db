package host

import (
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// maxGlobFiles bounds one Glob: a node with 4,000 links has 4,000 files for each sysctl of an interface.
const maxGlobFiles = 1 << 16

// threadPath turns paths below /proc/net, which follow the main thread, into those of the calling thread. Those below
// /proc/sys follow the thread that looks them up already (Linux 6.18, net/sysctl_net.c net_ctl_header_lookup).
func threadPath(p string) string {
	for _, prefix := range []string{"/proc/net", "/proc/self/net"} {
		if p == prefix || strings.HasPrefix(p, prefix+"/") {
			return "/proc/thread-self/net" + p[len(prefix):]
		}
	}
	return p
}

// readFile reads a regular file up to limit bytes. Named pipes and devices are refused, since reading them may block or
// change something; /dev/null counts as an empty file, which is how systemd's configuration masks one.
func readFile(name string, limit int64) *Answer {
	fd, err := openQuietly(threadPath(name))
	if err != nil {
		return orMasked(name, failed(err))
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return failed(err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == unix.Mkdev(1, 3) {
		return orMasked(name, &Answer{Data: []byte{}})
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return &Answer{Err: "not a regular file"}
	}
	data, err := readAll(fd, st.Size, limit)
	if err != nil {
		a := failed(err)
		if a.Absent && err != unix.ESRCH {
			// The file is there: a sysctl that answers EOPNOTSUPP could not be read.
			a = &Answer{Err: cause(err)}
		}
		return a
	}
	if int64(len(data)) > limit {
		return &Answer{Data: data[:limit], Truncated: true}
	}
	if len(data) == 0 {
		return orMasked(name, &Answer{Data: data})
	}
	return &Answer{Data: data}
}

// openQuietly opens for reading without touching the access time where the kernel lets us (owner or CAP_FOWNER).
func openQuietly(name string) (int, error) {
	const flags = unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY
	if !strings.HasPrefix(name, "/proc/") && !strings.HasPrefix(name, "/sys/") {
		if fd, err := openRetry(name, flags|unix.O_NOATIME); err != unix.EPERM {
			return fd, err
		}
	}
	return openRetry(name, flags)
}

func openRetry(name string, flags int) (int, error) {
	for {
		fd, err := unix.Open(name, flags, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// readAll reads to the end, or to one byte more than limit. Files of /proc state size 0 and come in pieces of a page.
func readAll(fd int, size, limit int64) ([]byte, error) {
	buf := make([]byte, 0, max(512, min(size, limit)+1))
	for int64(len(buf)) <= limit {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, len(buf))
		}
		n, err := unix.Read(fd, buf[len(buf):cap(buf)])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, err
		case n == 0:
			return buf, nil
		default:
			buf = buf[:len(buf)+n]
		}
	}
	return buf, nil
}

// globbed is one Glob being read.
type globbed struct {
	answer *Answer
	left   int64 // bytes of the need's limit
	denied bool
}

// readGlob reads every regular file that the pattern matches. Unlike filepath.Glob it says which folders it could not
// list: a file that cannot be seen is not an absent one.
func readGlob(pattern string, limit int64) *Answer {
	if _, err := path.Match(pattern, ""); err != nil || !path.IsAbs(pattern) {
		return &Answer{Err: "bad pattern"}
	}
	g := &globbed{answer: &Answer{Files: map[string][]byte{}}, left: limit}
	g.walk("/", strings.Split(strings.Trim(pattern, "/"), "/"))
	g.answer.Absent = len(g.answer.Files) == 0 && len(g.answer.Failed) == 0 && !g.answer.Truncated
	if g.answer.Absent {
		g.answer = orMasked(fixedPart(pattern), g.answer)
	}
	g.answer.sumUp(g.denied)
	return g.answer
}

// fixedPart is the pattern up to the folder that holds its first wildcard.
func fixedPart(pattern string) string {
	if i := strings.IndexAny(pattern, `*?[\`); i >= 0 {
		return pattern[:i]
	}
	return pattern
}

func (g *globbed) walk(dir string, segments []string) {
	name, rest := segments[0], segments[1:]
	if !strings.ContainsAny(name, `*?[\`) {
		g.visit(path.Join(dir, name), rest)
		return
	}
	names, err := listFolder(dir)
	if err != nil {
		g.fail(dir, failed(err))
	}
	for _, n := range names {
		if ok, _ := path.Match(name, n); ok {
			g.visit(path.Join(dir, n), rest)
		}
	}
}

func (g *globbed) visit(name string, rest []string) {
	if len(rest) > 0 {
		g.walk(name, rest)
		return
	}
	if len(g.answer.Files) >= maxGlobFiles || g.left <= 0 {
		g.answer.Truncated = true
		return
	}
	a := readFile(name, min(g.left, defaultFileLimit))
	if a.Err != "" || a.Absent {
		g.fail(name, a)
		return
	}
	g.left -= int64(len(a.Data))
	g.answer.Files[name] = a.Data
	g.answer.Truncated = g.answer.Truncated || a.Truncated
}

// fail notes what could not be read. Folders and other things that are no regular files are not what a Glob asks for.
func (g *globbed) fail(name string, a *Answer) {
	if a.Absent || a.Err == "not a regular file" {
		return
	}
	if g.answer.Failed == nil {
		g.answer.Failed = map[string]string{}
	}
	g.answer.Failed[name] = a.Err
	g.denied = g.denied || a.Denied
}

// listFolder returns the names in a folder, sorted.
func listFolder(dir string) ([]string, error) {
	fd, err := openRetry(threadPath(dir), unix.O_RDONLY|unix.O_CLOEXEC|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var names []string
	buf := make([]byte, 32<<10)
	for {
		n, err := unix.Getdents(fd, buf)
		if err != nil {
			return names, err
		}
		if n <= 0 {
			slices.Sort(names)
			return names, nil
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}
