package probe

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/ctaudit/ctaudit/internal/host"
)

// Read parses what the script printed (gzip or plain behind the first marker; noise before it is skipped, up to 1 MiB) into
// evidence. It never holds more than limit bytes decompressed. The errors are [ErrNoAnswer], [ErrCut], [ErrTooLong], and
// others that say how the answer contradicts itself; an answer that is not whole is not used at all.
func Read(r io.Reader, req host.Request, nonce string, limit int64) (*host.Evidence, error) {
	return NewPlan(req).Read(r, nonce, limit)
}

// Read is as the function of that name.
func (p *Plan) Read(r io.Reader, nonce string, limit int64) (*host.Evidence, error) {
	bench, _ := p.benches.Get().(*bench)
	defer p.benches.Put(bench)
	defer bench.clear()
	s, err := bench.open(r, nonce, limit)
	if err != nil {
		return nil, err
	}
	rd := &reading{plan: p, stream: s, bench: bench}
	if err := rd.records(); err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	return rd.evidence()
}

// bench is what reading takes, and evidence does not keep: one answer after the other uses it.
type bench struct {
	in     *bufio.Reader
	gzip   *gzip.Reader
	slots  []slot
	single []fileRead // room for the file of a slot that has one
	queue  []queued
}

func newBench(items int) *bench {
	return &bench{
		in: bufio.NewReaderSize(nil, 32<<10), gzip: new(gzip.Reader), slots: make([]slot, items), single: make([]fileRead, items),
	}
}

// maxQueue is far more than files of an ordinary node come one behind the other.
const maxQueue = 4096

// clear forgets an answer.
func (b *bench) clear() {
	b.in.Reset(nil)
	clear(b.slots)
	clear(b.single)
	if b.queue = b.queue[:0]; cap(b.queue) > maxQueue {
		b.queue = nil
	}
	clear(b.queue[:cap(b.queue)])
}

// slot is what came of one item.
type slot struct {
	answered bool
	why      string     // of a need that was not read
	files    []fileRead // a File has one
	held     []fileRead // the file that the condition is about, when it does not hold
	folders  []fileRead // of a Glob, that could not be listed
	output   *output
	spaces   *spaces
}

// fileRead is one path as the script saw it, and what was read there.
type fileRead struct {
	path string
	kind byte
	data []byte
	// unread: the program that reads files gave up before this one, saying data.
	unread bool
}

// reading is an answer being read.
type reading struct {
	plan   *Plan
	stream *stream
	*bench
	mounts  mounts
	name    string
	taken   time.Time
	uptimes [4]time.Duration
	ended   bool
}

// queued is a path whose data comes with the next D record.
type queued struct {
	to    *[]fileRead
	index int
	limit int64
}

// records reads all records to the end.
func (r *reading) records() error {
	for !r.ended {
		w, err := r.stream.words()
		if err != nil {
			return err
		}
		if err := r.record(w); err != nil {
			if errors.Is(err, ErrCut) || errors.Is(err, ErrTooLong) {
				return err
			}
			return fmt.Errorf("record %.60q: %w", w, err)
		}
	}
	return r.stream.drain()
}

func (r *reading) record(w string) error {
	kind, rest, _ := strings.Cut(w, " ")
	switch kind {
	case "B":
		return r.begin(rest)
	case "M":
		b, err := r.stream.only(maxMounts)
		r.mounts = parseMounts(b)
		return err
	case "T":
		return r.clock(rest)
	case "D":
		return r.data()
	case "Z":
		return r.end(rest)
	}
	number, rest, _ := strings.Cut(rest, " ")
	i, err := strconv.Atoi(number)
	if err != nil || i < 0 || i >= len(r.slots) {
		return errors.New("no such slot")
	}
	return r.slotRecord(kind, i, rest)
}

func (r *reading) slotRecord(kind string, i int, rest string) error {
	it, s := r.plan.items[i], &r.slots[i]
	switch kind {
	case "F", "C", "U", "P":
		switch {
		case s.files != nil:
		case it.need.Kind == host.Glob:
			s.files = make([]fileRead, 0, 8)
		default:
			s.files = r.single[i : i : i+1]
		}
		return r.path(kind, it, s, rest)
	case "N":
		if s.why = rest; rest == "" {
			return errors.New("no reason")
		}
		return s.answer()
	case "G":
		if it.need.Kind != host.Glob || it.text != "" {
			return errors.New("not what was asked for")
		}
		return s.answer()
	case "R":
		if it.text == "" || s.output == nil {
			return errors.New("not what was asked for")
		}
		*s = slot{}
		return nil
	case "O":
		return r.output(it, s, rest)
	case "S", "I", "A":
		if it.need.Kind != host.Namespaces || it.text != "" {
			return errors.New("not what was asked for")
		}
		return r.namespace(kind, it, s, rest)
	}
	return errors.New("no such record")
}

// answer notes that the slot was answered, once.
func (s *slot) answer() error {
	if s.answered {
		return errors.New("answered twice")
	}
	s.answered = true
	return nil
}

// begin reads the node's time, in seconds, and its name.
func (r *reading) begin(rest string) error {
	seconds, name, _ := strings.Cut(rest, " ")
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || name == "" || !r.taken.IsZero() {
		return errors.New("not a time and a name")
	}
	r.taken, r.name = time.Unix(n, 0).UTC(), name
	return nil
}

// clock reads one of the marks that the interval between two readings is made from: seconds since boot.
func (r *reading) clock(rest string) error {
	number, seconds, _ := strings.Cut(rest, " ")
	i, err := strconv.Atoi(number)
	if err != nil || i < 0 || i >= len(r.uptimes) {
		return errors.New("no such mark")
	}
	d, err := time.ParseDuration(seconds + "s")
	if err != nil || d < 0 {
		return errors.New("not an uptime")
	}
	r.uptimes[i] = d
	return nil
}

// path notes a path; its data follows with the next D record, unless there is nothing to read.
func (r *reading) path(record string, it item, s *slot, rest string) error {
	kind, name, _ := strings.Cut(rest, " ")
	if len(kind) != 1 || !strings.Contains("fanopx", kind) || name == "" {
		return errors.New("not a kind and a path")
	}
	to, limit, err := r.place(record, it, s, name)
	if err != nil {
		return err
	}
	*to = append(*to, fileRead{path: name, kind: kind[0]})
	if kind == "f" || kind == "a" {
		r.queue = append(r.queue, queued{to: to, index: len(*to) - 1, limit: limit})
	}
	return nil
}

// place says where a path belongs, and how much of it is read.
func (r *reading) place(record string, it item, s *slot, name string) (*[]fileRead, int64, error) {
	switch {
	case it.text != "":
	case record == "F" && it.need.Kind == host.File && name == it.need.Args[0]:
		return &s.files, bytesOf(it.need), s.answer()
	case record == "F" && it.need.Kind == host.Glob && s.answered && s.why == "":
		if len(s.files) > maxGlobFiles {
			return nil, 0, errors.New("too many files")
		}
		return &s.files, fileLimit + 1, nil
	case record == "U" && it.need.Kind == host.Glob && s.answered:
		return &s.folders, fileLimit + 1, nil
	case record == "C" && name == conditionOf(it.need):
		return &s.held, 1 << 62, s.answer()
	case record == "P" && it.need.Kind == host.Namespaces && s.spaces != nil:
		return &s.spaces.about, fileLimit + 1, nil
	}
	return nil, 0, errors.New("not what was asked for")
}

// data reads what was queued, in order.
func (r *reading) data() error {
	var gaveUp []byte
	for _, q := range r.queue {
		f := &(*q.to)[q.index]
		if gaveUp != nil {
			f.data, f.unread = gaveUp, true
			continue
		}
		b, last, err := r.stream.segment(q.limit + maxHeader) // a complaint may follow
		if err != nil {
			return err
		}
		f.data, f.unread = b, last
		if last {
			gaveUp = b
		}
	}
	r.queue = r.queue[:0]
	if gaveUp != nil {
		return nil
	}
	rest, err := r.stream.only(maxHeader)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes of no file", len(rest))
	}
	return err
}

func (r *reading) output(it item, s *slot, rest string) error {
	asks, name, _ := strings.Cut(rest, " ")
	if it.text == "" && it.need.Kind != host.Command || asks != "yes" && asks != "no" {
		return errors.New("not what was asked for")
	}
	limit := int64(textLimit + 1)
	if it.text == "" {
		limit = it.need.Cap() + 1
	}
	o, err := r.stream.output(limit)
	if err != nil {
		return err
	}
	o.asks, o.name, s.output = asks == "yes", name, o
	return s.answer()
}

// end checks that everything was answered.
func (r *reading) end(rest string) error {
	r.ended = true
	if rest != strconv.Itoa(len(r.slots)) {
		return fmt.Errorf("states %.20q answers to %d questions", rest, len(r.slots))
	}
	if len(r.queue) > 0 {
		return fmt.Errorf("%d files were announced and did not come", len(r.queue))
	}
	for i := range r.slots {
		if s := &r.slots[i]; !s.answered || s.spaces != nil && !s.spaces.closed {
			return fmt.Errorf("nothing, or not all, about slot %d", i)
		}
	}
	if r.name == "" {
		return errors.New("the node did not say its name")
	}
	return nil
}
