// Package journal keeps what came of each host of a run while it comes, so that neither a kill at any moment nor a full disk
// loses a host that counted as done.
//
// A journal is a file of JSON lines that only grows: a [Header], then one [Entry] a host. Every line ends with a checksum of
// itself:
//
//	{"journal":1,"tool":"ctaudit 0.1.0", ... ,"sum":"8f12a03c"}
//	{"host":"web-1","attempt":1,"outcome":"complete","report":{ ... },"sum":"00d1c2aa"}
//
// A host is done once its line is on the disk: lines that come at the same time share one fsync. A line that was cut off at the
// end is removed when the file is opened again, one that was damaged in the middle is passed over and named; either way its
// host is simply not done. Of several entries of a host the last one counts, and so does the last header.
package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Version is the version of the journals that this build writes, and the only one that it reads.
const Version = 1

// Header says what a run is: an entry means something under its header alone.
type Header struct {
	Journal   int               `json:"journal"` // Version
	Tool      string            `json:"tool"`
	Inventory string            `json:"inventory"`       // a digest of all hosts of the inventory, whatever the shard
	Controls  string            `json:"controls"`        // a digest of the policies
	Options   map[string]string `json:"options"`         // those that change what an entry says
	Shard     string            `json:"shard,omitempty"` // "3/8"; empty: all of the inventory
	Hosts     []string          `json:"hosts"`           // whom this run is asked for, sorted
	Begun     time.Time         `json:"begun,omitzero"`  // by the first run
	Head      json.RawMessage   `json:"head,omitempty"`  // what else a reader of the entries needs
}

// Entry is what came of one host.
type Entry struct {
	Host    string
	Attempt int             // 1-based
	Outcome string          // one word
	Where   string          // what was reached by the name, in one word; empty: not noted
	Report  json.RawMessage // one line of JSON
}

// Damage is a line that cannot be used.
type Damage struct {
	Line int    // 1-based
	Host string // whose it probably was; empty: nothing can be said
	Why  string
}

// String names the line, and the host where it is known.
func (d Damage) String() string {
	s := fmt.Sprintf("line %d: %s", d.Line, d.Why)
	if d.Host != "" {
		s += fmt.Sprintf(" (probably of %s)", d.Host)
	}
	return s
}

// Journal is an open journal. Its methods may be called at the same time.
type Journal struct {
	path    string
	file    *os.File
	keep    bool // has to outlast this process: fsync
	damaged []Damage
	cut     int64

	io     sync.Mutex // held while a batch is written; taken before mu
	size   int64      // where the next line goes
	broken error      // nothing can be written any more

	mu     sync.Mutex
	header Header
	index  map[string]place
	batch  *batch
}

// place is where an entry stands, and what has to be known of it without reading it.
type place struct {
	offset  int64
	length  int
	attempt int
	outcome string
	where   string
}

// ErrExists is that there is a journal already where a new one was to be.
var ErrExists = errors.New("the journal exists already")

// ErrNoFile is that the path leads to a device, a pipe or the like.
var ErrNoFile = errors.New("a journal has to be a file")

// ErrInUse is that another run holds the journal.
var ErrInUse = errors.New("in use by another run")

// Create makes a journal that nobody else can read or use. It fails with [ErrExists] on a file that is not empty.
func Create(path string, h Header) (*Journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("journal %w", err)
	}
	j := &Journal{path: path, file: f, keep: true, index: map[string]place{}}
	if err := j.begin(h); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("journal %s: %w", path, err)
	}
	return j, nil
}

func (j *Journal) begin(h Header) error {
	if err := lock(j.file, unix.LOCK_EX); err != nil {
		return err
	}
	info, err := j.file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return ErrNoFile
	}
	if info.Size() > 0 {
		return ErrExists
	}
	if err := j.file.Chmod(0o600); err != nil { // it may have been there, empty, for others to read
		return err
	}
	if err := j.writeHeader(h); err != nil {
		return err
	}
	return syncFolder(j.path)
}

// Temporary makes a journal without a name: it takes room in the folder until it is closed, or until the process ends, however
// that comes.
func Temporary(dir string, h Header) (*Journal, error) {
	f, err := os.CreateTemp(dir, "ctaudit-*.journal") // 0600
	if err != nil {
		return nil, fmt.Errorf("journal %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("journal %w", err)
	}
	j := &Journal{path: filepath.Join(filepath.Dir(f.Name()), "(temporary)"), file: f, index: map[string]place{}}
	if err := j.writeHeader(h); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("journal %s: %w", j.path, err)
	}
	return j, nil
}

// Resume opens a journal to go on with it: what was cut off at its end is removed. A file that is not there, or that a kill left
// without a whole header, gets this one; else the header is what the file says, for the caller to compare.
func Resume(path string, h Header) (*Journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return Create(path, h)
	}
	if err != nil {
		return nil, fmt.Errorf("journal %w", err)
	}
	j := &Journal{path: path, file: f, keep: true, index: map[string]place{}}
	if err := j.reopen(h); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("journal %s: %w", path, err)
	}
	return j, nil
}

func (j *Journal) reopen(h Header) error {
	if err := lock(j.file, unix.LOCK_EX); err != nil {
		return err
	}
	if info, err := j.file.Stat(); err != nil || !info.Mode().IsRegular() {
		return errors.Join(err, ErrNoFile)
	}
	if err := j.scan(); err != nil {
		return err
	}
	if j.cut > 0 {
		if err := j.file.Truncate(j.size); err != nil {
			return err
		}
	}
	if j.size == 0 {
		return j.writeHeader(h)
	}
	return nil
}

// Open reads a journal that nobody writes at the moment.
func Open(path string) (*Journal, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("journal %w", err)
	}
	j := &Journal{path: path, file: f, index: map[string]place{}, broken: errors.New("opened to be read")}
	err = lock(f, unix.LOCK_SH)
	if err == nil {
		err = j.scan()
	}
	if err == nil && j.size == 0 {
		err = errors.New("no journal: it has no header")
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("journal %s: %w", path, err)
	}
	return j, nil
}

func lock(f *os.File, how int) error {
	err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrInUse
	}
	if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	return nil
}

// Close gives the journal up; everything that was appended is on the disk already.
func (j *Journal) Close() error { return j.file.Close() }

// Path is the file's name, as it was given.
func (j *Journal) Path() string { return j.path }

// Header is the journal's last header.
func (j *Journal) Header() Header {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.header
}

// Damaged are the lines that cannot be used, in their order.
func (j *Journal) Damaged() []Damage { return j.damaged }

// Cut is how many bytes stood behind the last whole line when the journal was opened.
func (j *Journal) Cut() int64 { return j.cut }

// Done says which attempt at the host is the last one that was noted, and how it ended; 0: none.
func (j *Journal) Done(host string) (attempt int, outcome string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	p := j.index[host]
	return p.attempt, p.outcome
}

// Where is what the host's last entry was read from; empty: it has none, or does not say.
func (j *Journal) Where(host string) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.index[host].where
}

// Hosts are the hosts that have an entry, sorted.
func (j *Journal) Hosts() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	names := make([]string, 0, len(j.index))
	for name := range j.index {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func syncFolder(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer d.Close()
	// some file systems cannot sync a folder; their files are no less safe for that
	if err := d.Sync(); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTSUP) {
		return err
	}
	return nil
}
