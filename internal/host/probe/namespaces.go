package probe

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ctaudit/ctaudit/internal/host"
)

const (
	pidsKept      = 8
	insideLimit   = 1 << 20  // of the links and addresses in a namespace, bytes of text; less where there are many
	crowded       = 64 << 10 // less, that is
	listingLimit  = 64 << 20 // of the lists of namespaces
	maxCgroupText = 64 << 10
)

// spaces is what the script found about network namespaces.
type spaces struct {
	found, veiled, named, after []byte // "ls -diL": number and path, or a complaint
	ids                         []byte // "lsns": number and id, where the node has it
	closed                      bool
	inside                      []inside
	about                       []fileRead // comm and cgroup of processes
}

// inside is one namespace as it was read.
type inside struct {
	inode  uint64
	path   string
	files  []fileRead
	refuse string // what came in place of the files
	output *output
}

// namespace reads the records of a Namespaces need.
func (r *reading) namespace(kind string, it item, s *slot, rest string) (err error) {
	switch {
	case kind == "S":
		sp := &spaces{}
		s.spaces = sp
		for _, to := range []*[]byte{&sp.found, &sp.veiled, &sp.named} {
			if *to, err = r.stream.only(listingLimit); err != nil {
				return err
			}
		}
		return s.answer()
	case s.spaces == nil || s.spaces.closed:
		return errors.New("not inside a list of namespaces")
	case kind == "A":
		s.spaces.closed = true
		if s.spaces.after, err = r.stream.only(listingLimit); err == nil {
			s.spaces.ids, err = r.stream.only(listingLimit)
		}
		return err
	}
	number, path, _ := strings.Cut(rest, " ")
	in := inside{path: path}
	if in.inode, err = strconv.ParseUint(number, 10, 64); err != nil || len(s.spaces.inside) > host.MaxNamespaces {
		return errors.New("no such namespace")
	}
	if err := r.inside(&in, it.need.Args); err != nil {
		return err
	}
	s.spaces.inside = append(s.spaces.inside, in)
	return nil
}

// inside reads the files, then what ip printed.
func (r *reading) inside(in *inside, files []string) (err error) {
	for _, name := range files {
		b, last, err := r.stream.segment(fileLimit + maxHeader)
		if err != nil {
			return err
		}
		if last {
			in.refuse = string(b)
			break
		}
		in.files = append(in.files, fileRead{path: name, kind: 'a', data: b})
	}
	if len(in.files) == len(files) {
		b, err := r.stream.only(maxHeader)
		if err != nil {
			return err
		}
		if len(b) > 0 {
			return fmt.Errorf("%d bytes of no file", len(b))
		}
	}
	in.output, err = r.stream.output(insideLimit + 1)
	return err
}

// namespaces answers a Namespaces need.
func (r *reading) namespaces(n host.Need, s *slot, d *dumps) *host.Answer {
	if a := r.unmet(n, s); a != nil {
		return a
	}
	sv := &survey{found: map[uint64]*host.NamespaceEvidence{}}
	if err := sv.processes(s.spaces.found, s.spaces.veiled); err != nil {
		return &host.Answer{Err: err.Error()}
	}
	sv.names(s.spaces.named, &r.mounts)
	list, links := r.entered(n, s.spaces, sv)
	a := &host.Answer{Truncated: len(list) > host.MaxNamespaces}
	list = list[:min(len(list), host.MaxNamespaces)]
	if d.fault == nil {
		giveIDs(list, links, d.links)
	}
	toldIDs(list, s.spaces.ids)
	list, cut := fitting(list, n.Cap())
	a.Truncated, a.Absent = a.Truncated || cut, len(list) == 0
	var err error
	if a.Data, err = host.EncodeNamespaces(list); err != nil {
		return &host.Answer{Err: err.Error()}
	}
	sv.complain(a)
	return a
}

// entered joins what was found with what was read inside. Namespaces that ended meanwhile are left out.
func (r *reading) entered(n host.Need, sp *spaces, sv *survey) ([]host.NamespaceEvidence, map[uint64][]ipLink) {
	read, still, there := map[uint64]*inside{}, map[string]uint64{}, map[uint64]bool{}
	for i := range sp.inside {
		read[sp.inside[i].inode] = &sp.inside[i]
	}
	for _, l := range parseListing(sp.after) {
		still[l.path], there[l.inode] = l.inode, true
	}
	about := map[string]fileRead{}
	for _, f := range sp.about {
		about[f.path] = f
	}
	var list []host.NamespaceEvidence
	links := map[uint64][]ipLink{}
	for _, inode := range slices.Sorted(maps.Keys(sv.found)) {
		ns := sv.found[inode]
		slices.Sort(ns.PIDs)
		ns.PIDs = ns.PIDs[:min(len(ns.PIDs), pidsKept)]
		in := read[inode]
		switch {
		case in == nil:
			shut(ns, n.Args, "not entered", false)
		case !there[inode] && there[sv.own]: // the second list is whole: it ended meanwhile, and is on the node no longer
			continue
		case still[in.path] != inode:
			shut(ns, n.Args, "changed while reading", false)
		default:
			links[inode] = r.describe(ns, in, n.Args)
		}
		r.process(ns, in, about)
		list = append(list, *ns)
	}
	return list, links
}

// process notes name and cgroup of the lowest process whose namespace may be seen, which the script entered by.
func (r *reading) process(ns *host.NamespaceEvidence, in *inside, about map[string]fileRead) {
	if in == nil || pidOf(in.path) == 0 {
		return
	}
	dir := fmt.Sprintf("/proc/%d/", pidOf(in.path))
	if f, ok := about[dir+"comm"]; ok {
		ns.Command = strings.TrimSuffix(string(r.file(f, 64).Data), "\n")
	}
	if f, ok := about[dir+"cgroup"]; ok {
		ns.CGroup = string(r.file(f, maxCgroupText).Data)
	}
}

// describe fills in what was read inside, and returns the links.
func (r *reading) describe(ns *host.NamespaceEvidence, in *inside, files []string) []ipLink {
	if len(in.files) < len(files) {
		why := lastLine(in.refuse)
		why = strings.ToLower(why[strings.LastIndex(why, ": ")+1:])
		shut(ns, files, printable(strings.TrimSpace(why)), host.SaysDenied(in.refuse))
		return nil
	}
	ns.Files = make(map[string]*host.Answer, len(files))
	for _, f := range in.files {
		a := r.file(f, fileLimit)
		ns.Files[f.path] = &a
	}
	links, fault := decodeOutput[ipLink](in.output, "ip")
	if fault != nil && (len(in.output.data) == insideLimit+1 || len(in.output.data) == crowded+1) {
		fault = &host.Answer{Err: "ip: cut at the size limit"}
	}
	index := indexOf(links)
	ns.Links = messagesOf(links, fault, func(b []byte, l ipLink) ([]byte, error) { return linkMessage(b, l, index) })
	ns.Addresses = (&dumps{}).addresses(links, fault)
	return links
}

// shut notes that the namespace could not be read, in each answer too.
func shut(ns *host.NamespaceEvidence, files []string, why string, denied bool) {
	ns.Err, ns.Denied = why, denied
	ns.Files = make(map[string]*host.Answer, len(files))
	for _, f := range files {
		ns.Files[f] = &host.Answer{Err: why, Denied: denied}
	}
	ns.Links = &host.Answer{Err: why, Denied: denied}
	ns.Addresses = &host.Answer{Err: why, Denied: denied}
}

// fitting drops the last namespaces once their data reaches limit bytes.
func fitting(list []host.NamespaceEvidence, limit int64) ([]host.NamespaceEvidence, bool) {
	for i, n := range list {
		for _, a := range n.Files {
			limit -= int64(len(a.Data))
		}
		limit -= int64(len(n.Links.Data) + len(n.Addresses.Data))
		if limit < 0 {
			return list[:i], true
		}
	}
	return list, false
}

// giveIDs finds the ids by which the node's own namespace knows the others. The other end of each veth that leads away with
// an id is looked for: it has the number that our end names, and names ours. Where several namespaces have such an end, each
// may be the one, and gets the id: a container too many is looked at then, but none too few.
func giveIDs(list []host.NamespaceEvidence, inside map[uint64][]ipLink, own []ipLink) {
	ids, ends := map[uint64]int32{}, otherEnds(inside)
	for _, l := range own {
		if l.NetnsID == nil || l.LowerAt == nil || !l.paired() {
			continue
		}
		id, err := l.NetnsID.value("", nil)
		if err != nil {
			continue
		}
		for _, inode := range ends[pair{*l.LowerAt, l.Index}] {
			if _, ok := ids[inode]; !ok {
				ids[inode] = int32(id)
			}
		}
	}
	for i := range list {
		if id, ok := ids[list[i].Inode]; ok {
			list[i].NetnsID = &id
		}
	}
}

// toldIDs takes what lsns says about ids over what was derived: a number, or that there is none ("unassigned").
func toldIDs(list []host.NamespaceEvidence, ids []byte) {
	told := map[string]*int32{}
	for line := range bytes.Lines(ids) {
		number, text, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		text = strings.TrimSpace(text)
		if text == "unassigned" {
			told[number] = nil
		} else if id, err := strconv.ParseInt(text, 10, 32); err == nil && id >= 0 {
			n := int32(id)
			told[number] = &n
		}
	}
	for i := range list {
		if id, ok := told[strconv.FormatUint(list[i].Inode, 10)]; ok {
			list[i].NetnsID = id
		}
	}
}

func (l ipLink) paired() bool {
	return l.Info != nil && (l.Info.Kind == "veth" || l.Info.Kind == "netkit")
}

// pair is the numbers of a veth's ends, the inner one first.
type pair struct{ inner, outer uint32 }

// otherEnds are the namespaces that have such an inner end.
func otherEnds(inside map[uint64][]ipLink) map[pair][]uint64 {
	ends := map[pair][]uint64{}
	for inode, links := range inside {
		for _, l := range links {
			if l.paired() && l.LowerAt != nil && l.NetnsID != nil {
				p := pair{l.Index, *l.LowerAt}
				ends[p] = append(ends[p], inode)
			}
		}
	}
	return ends
}
