package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	pidsKept       = 8
	maxCgroupText  = 64 << 10
	maxInsideDump  = 4 << 20
	attrNetnsID    = 1 // NETNSA_NSID, include/uapi/linux/net_namespace.h
	attrNetnsFD    = 3 // NETNSA_FD
	hiddenByHidden = "/proc hides the processes of other users (hidepid)"
)

// survey gathers namespaces before they are entered.
type survey struct {
	own    uint64
	found  map[uint64]*NamespaceEvidence
	denied int // processes whose namespace may not be seen
	hidden bool
}

// namespaces answers a Namespaces need.
func (d *dumper) namespaces(ctx context.Context, n Need) *Answer {
	own, err := netnsInode(threadNetns)
	if err != nil {
		return orMasked(threadNetns, failed(err))
	}
	s := &survey{own: own, found: map[uint64]*NamespaceEvidence{}}
	if err := s.processes(); err != nil {
		return failed(err)
	}
	s.names("/run/netns", "/run/docker/netns")
	ids := slices.Sorted(maps.Keys(s.found))
	a := &Answer{Truncated: len(ids) > MaxNamespaces}
	ids = ids[:min(len(ids), MaxNamespaces)]
	list := make([]NamespaceEvidence, len(ids))
	for i, id := range ids {
		list[i] = *s.found[id]
	}
	d.enterAll(ctx, list, n.Args)
	list = slices.DeleteFunc(list, func(n NamespaceEvidence) bool { return n.Err == errGone.Error() })
	a.Absent = len(list) == 0
	list, cut := fittingNamespaces(list, n.Cap())
	a.Truncated = a.Truncated || cut
	if a.Data, err = encodeNamespaces(list); err != nil {
		return &Answer{Err: err.Error()}
	}
	s.complain(a)
	return a
}

// complain says what the survey could not see. Nothing seen is then no proof of absence.
func (s *survey) complain(a *Answer) {
	switch {
	case s.hidden:
		a.Err, a.Denied, a.Absent = hiddenByHidden, true, false
	case s.denied > 0:
		a.Err = fmt.Sprintf("%d processes in other network namespaces: permission denied", s.denied)
		a.Denied, a.Absent = true, false
	}
}

// fittingNamespaces drops the last namespaces once the data of all before them reach limit bytes.
func fittingNamespaces(list []NamespaceEvidence, limit int64) ([]NamespaceEvidence, bool) {
	for i, n := range list {
		for _, a := range n.Files {
			limit -= int64(len(a.Data))
		}
		for _, a := range []*Answer{n.Links, n.Addresses} {
			if a != nil {
				limit -= int64(len(a.Data))
			}
		}
		if limit < 0 {
			return list[:i], true
		}
	}
	return list, false
}

// processes goes through /proc by ascending pid.
func (s *survey) processes() error {
	names, err := listFolder("/proc")
	if err != nil {
		return err
	}
	var pids, veiled []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	s.hidden = len(pids) > 0 && pids[0] != 1
	for _, pid := range pids {
		inode, err := processNetns(pid)
		switch {
		case err == nil:
			s.add(pid, inode)
		case isAny(err, unix.EACCES, unix.EPERM):
			veiled = append(veiled, pid)
		} // any other error: it has ended meanwhile
	}
	s.unveil(veiled)
	return nil
}

// processNetns is the number in the link "net:[4026531840]".
func processNetns(pid int) (inode uint64, err error) {
	var buf [64]byte
	n, err := unix.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid), buf[:])
	if err != nil {
		return 0, err
	}
	_, err = fmt.Sscanf(string(buf[:n]), "net:[%d]", &inode)
	return inode, err
}

func (s *survey) add(pid int, inode uint64) {
	if inode == s.own {
		return
	}
	n := s.at(inode)
	n.Processes++
	n.PIDs = append(n.PIDs, pid)
	slices.Sort(n.PIDs)
	n.PIDs = n.PIDs[:min(len(n.PIDs), pidsKept)]
}

// unveil places the processes whose namespace we may not see: that takes the right to trace them. The folder
// /proc/PID/net/stat, made anew with each namespace (Linux 6.18, fs/proc/proc_net.c proc_net_ns_init), is there for all to
// compare, so those that share a namespace with us or with a process that we do see are known. The others count as denied.
func (s *survey) unveil(veiled []int) {
	if len(veiled) == 0 {
		return
	}
	known := map[unix.Stat_t]uint64{}
	learn := func(dir string, inode uint64) {
		if st, ok := statFolder(dir); ok {
			known[st] = inode
		}
	}
	learn("/proc/thread-self", s.own)
	for inode, n := range s.found {
		learn(fmt.Sprintf("/proc/%d", n.PIDs[0]), inode)
	}
	for _, pid := range veiled {
		st, ok := statFolder(fmt.Sprintf("/proc/%d", pid))
		inode, match := known[st]
		switch {
		case ok && match:
			s.add(pid, inode)
		case ok:
			s.denied++
		}
	}
}

// statFolder identifies the folder dir/net/stat by its device and inode.
func statFolder(dir string) (id unix.Stat_t, ok bool) {
	var st unix.Stat_t
	if unix.Stat(dir+"/net/stat", &st) != nil {
		return id, false
	}
	return unix.Stat_t{Dev: st.Dev, Ino: st.Ino}, true
}

func (s *survey) at(inode uint64) *NamespaceEvidence {
	n := s.found[inode]
	if n == nil {
		n = &NamespaceEvidence{Inode: inode}
		s.found[inode] = n
	}
	return n
}

// names adds the namespaces that are mounted in the folders. Other files there are no namespaces.
func (s *survey) names(folders ...string) {
	for _, dir := range folders {
		entries, err := listFolder(dir)
		if err != nil {
			continue // that tool has none here
		}
		for _, e := range entries {
			name := path.Join(dir, e)
			ns, err := openNetnsFile(name)
			switch {
			case isAny(err, unix.EACCES, unix.EPERM):
				s.denied++
			case err == nil:
				if ns.inode != s.own {
					s.at(ns.inode).Names = append(s.at(ns.inode).Names, name)
				}
				ns.close()
			}
		}
	}
}

// enterAll reads inside each namespace, a few at a time.
func (d *dumper) enterAll(ctx context.Context, list []NamespaceEvidence, files []string) {
	ids := d.netnsIDs()
	defer ids.close()
	next := make(chan *NamespaceEvidence)
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(list), 8) {
		wg.Go(func() {
			for n := range next {
				d.enter(ctx, n, files, ids)
			}
		})
	}
	for i := range list {
		next <- &list[i]
	}
	close(next)
	wg.Wait()
}

// enter opens the namespace and reads what is asked inside it.
func (d *dumper) enter(ctx context.Context, n *NamespaceEvidence, files []string, ids *netnsIDs) {
	if len(n.PIDs) > 0 {
		dir := fmt.Sprintf("/proc/%d/", n.PIDs[0])
		n.Command = strings.TrimSuffix(string(readFile(dir+"comm", 64).Data), "\n")
		n.CGroup = string(readFile(dir+"cgroup", maxCgroupText).Data)
	}
	ns, err := n.open()
	if err == nil {
		defer ns.close()
		n.NetnsID = ids.of(ns.fd)
		err = ns.do(func() { d.inside(ctx, n, files) })
	}
	if err != nil {
		n.refuse(err, files)
	}
}

// inside reads on a thread that is in the namespace.
func (d *dumper) inside(ctx context.Context, n *NamespaceEvidence, files []string) {
	n.Files = make(map[string]*Answer, len(files))
	for _, f := range files {
		n.Files[f] = readFile(f, defaultFileLimit)
	}
	n.Links = d.read(ctx, Need{Kind: Netlink, Args: []string{DumpLinks}, Limit: maxInsideDump})
	n.Addresses = d.read(ctx, Need{Kind: Netlink, Args: []string{DumpAddresses}, Limit: maxInsideDump})
}

// refuse notes that the namespace could not be entered, in each answer too. That it went away while it was read is not
// the same as a file that is absent in it.
func (n *NamespaceEvidence) refuse(err error, files []string) {
	n.Err, n.Denied = cause(err), isAny(err, unix.EPERM, unix.EACCES)
	n.Files = make(map[string]*Answer, len(files))
	for _, f := range files {
		n.Files[f] = &Answer{Err: n.Err, Denied: n.Denied}
	}
	n.Links = &Answer{Err: n.Err, Denied: n.Denied}
	n.Addresses = &Answer{Err: n.Err, Denied: n.Denied}
}

// errGone: every process and name that led to the namespace has ended since it was found. It is not reported, as it is
// no longer on the node.
var errGone = errors.New("ended while reading")

// open opens the namespace by whichever of its processes or names still leads there.
func (n *NamespaceEvidence) open() (*netns, error) {
	var paths []string
	for _, pid := range n.PIDs {
		paths = append(paths, fmt.Sprintf("/proc/%d/ns/net", pid))
	}
	last := error(unix.ENOENT)
	for _, p := range append(paths, n.Names...) {
		ns, err := openNetnsFile(p)
		if err != nil {
			last = err
			continue
		}
		if ns.inode == n.Inode {
			return ns, nil
		}
		ns.close() // the pid or the name has a new owner
	}
	if isAny(last, unix.ENOENT, unix.ESRCH) {
		last = errGone
	}
	return nil, last
}

// netnsIDs asks the node's own namespace for its ids of others. RTM_GETNSID gives none to those that have none.
type netnsIDs struct {
	mu     sync.Mutex
	socket *nlSocket
}

func (d *dumper) netnsIDs() *netnsIDs {
	s, err := dialNetlink(unix.NETLINK_ROUTE)
	if err != nil {
		return &netnsIDs{}
	}
	return &netnsIDs{socket: s}
}

func (i *netnsIDs) close() {
	if i.socket != nil {
		i.socket.close()
	}
}

// of returns the id of the namespace that fd leads to, nil when it has none or cannot be asked for.
func (i *netnsIDs) of(fd int) *int32 {
	if i.socket == nil {
		return nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	ae := netlink.NewAttributeEncoder()
	ae.Uint32(attrNetnsFD, uint32(fd))
	attrs, err := ae.Encode()
	if err != nil {
		return nil
	}
	var out spool
	defer out.drop()
	q := request{typ: unix.RTM_GETNSID, body: append(make([]byte, 4), attrs...)} // struct rtgenmsg, padded
	if _, err := i.socket.dump(context.Background(), q, dumpTo{out: &out, limit: defaultFileLimit}); err != nil {
		return nil
	}
	return netnsIDIn(out.take())
}

func netnsIDIn(b []byte) *int32 {
	var id *int32
	// A message that cannot be read leaves the id unknown, like a kernel that cannot say.
	_ = eachMessage(b, func(_ uint16, body []byte) error {
		ad, err := netlink.NewAttributeDecoder(body[min(4, len(body)):])
		if err != nil {
			return err
		}
		for ad.Next() {
			if v := int32(0); ad.Type() == attrNetnsID && len(ad.Bytes()) == 4 {
				if v = int32(native.Uint32(ad.Bytes())); v >= 0 {
					id = &v
				}
			}
		}
		return ad.Err()
	})
	return id
}
