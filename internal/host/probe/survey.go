package probe

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/ctaudit/ctaudit/internal/host"
)

// listed is a line of "ls -diL".
type listed struct {
	inode uint64
	path  string
	why   string // of a path that could not be looked at
}

func parseListing(b []byte) []listed {
	var all []listed
	for line := range bytes.Lines(b) {
		text := strings.TrimSpace(string(line))
		number, path, ok := strings.Cut(text, " ")
		if inode, err := strconv.ParseUint(number, 10, 64); ok && err == nil {
			all = append(all, listed{inode: inode, path: path})
			continue
		}
		if from, to := strings.IndexByte(text, '/'), strings.LastIndex(text, ": "); from >= 0 && to > from {
			all = append(all, listed{path: strings.TrimRight(text[from:to], "'"), why: strings.ToLower(text[to+2:])})
		}
	}
	return all
}

// pidOf is the process whose file it is, 0 for another path.
func pidOf(path string) int {
	rest, ok := strings.CutPrefix(path, "/proc/")
	number, _, _ := strings.Cut(rest, "/")
	if pid, err := strconv.Atoi(number); ok && err == nil && pid > 0 {
		return pid
	}
	return 0
}

// survey gathers namespaces as host.Local does.
type survey struct {
	own    uint64
	found  map[uint64]*host.NamespaceEvidence
	denied int
	hidden bool
}

func (s *survey) at(inode uint64) *host.NamespaceEvidence {
	if s.found[inode] == nil {
		s.found[inode] = &host.NamespaceEvidence{Inode: inode}
	}
	return s.found[inode]
}

func (s *survey) add(pid int, inode uint64) {
	if inode == s.own {
		return
	}
	n := s.at(inode)
	n.Processes++
	n.PIDs = append(n.PIDs, pid)
}

// processes reads the list; it fails without the script's own namespace.
func (s *survey) processes(found, veiled []byte) error {
	list := parseListing(found)
	for _, l := range list {
		if l.path == "/proc/self/ns/net" {
			s.own = l.inode
		}
	}
	if s.own == 0 {
		return errors.New("the node does not tell its own network namespace")
	}
	var denied []int
	lowest := 0
	for _, l := range list {
		pid := pidOf(l.path)
		if pid == 0 {
			continue
		}
		if lowest == 0 || pid < lowest {
			lowest = pid
		}
		switch {
		case l.why == "":
			s.add(pid, l.inode)
		case strings.Contains(l.why, "denied") || strings.Contains(l.why, "not permitted"):
			denied = append(denied, pid)
		}
	}
	s.hidden = lowest != 1
	s.unveil(denied, parseListing(veiled))
	return nil
}

// unveil places processes whose namespace may not be seen by the folder net/stat, which each namespace has one of.
func (s *survey) unveil(denied []int, veiled []listed) {
	folder, known := map[int]uint64{}, map[uint64]uint64{}
	for _, l := range veiled {
		if l.why == "" && l.path == "/proc/self/net/stat" {
			known[l.inode] = s.own
		} else if l.why == "" {
			folder[pidOf(l.path)] = l.inode
		}
	}
	for inode, n := range s.found {
		if id, ok := folder[n.PIDs[0]]; ok {
			known[id] = inode
		}
	}
	for _, pid := range denied {
		id, seen := folder[pid]
		inode, ok := known[id]
		switch {
		case seen && ok:
			s.add(pid, inode)
		case seen:
			s.denied++
		}
	}
}

// names adds those that are mounted. A link there counts when it leads to the namespace of a process.
func (s *survey) names(named []byte, all *mounts) {
	for _, l := range parseListing(named) {
		_, used := s.found[l.inode]
		if l.why == "" && l.inode != s.own && (used || all.namespace(l.path, l.inode)) {
			n := s.at(l.inode)
			n.Names = append(n.Names, l.path)
		}
	}
}

// namespace says whether a network namespace is mounted at the path.
func (all *mounts) namespace(path string, inode uint64) bool {
	return all.nsfs[path] == fmt.Sprintf("net:[%d]", inode)
}

// complain says what could not be seen, in host.Local's words.
func (s *survey) complain(a *host.Answer) {
	switch {
	case s.hidden:
		a.Err, a.Denied, a.Absent = "/proc hides the processes of other users (hidepid)", true, false
	case s.denied > 0:
		a.Err = fmt.Sprintf("%d processes in other network namespaces: permission denied", s.denied)
		a.Denied, a.Absent = true, false
	}
}
