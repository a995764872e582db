package sshhost

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
	"golang.org/x/sys/unix"
)

// note writes a new host's key to the first of the user's known_hosts files. The file is locked, and read again when somebody
// else has written to it meanwhile, so that a host gets one line, whoever meets it first.
func (h *hostKeys) note(files []string, key ssh.PublicKey) error {
	if len(files) == 0 {
		return nil // UserKnownHostsFile none
	}
	file := files[0]
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", file, err)
	}
	known, err := h.reread(f)
	if known || err != nil {
		return err
	}
	return h.append(f, key)
}

// reread takes over what others wrote since, and judges anew. Lines of our own are in the memory already.
func (h *hostKeys) reread(f *os.File) (known bool, err error) {
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return false, err
	}
	if err := h.db.follow(f, st.Size()); err != nil {
		return false, err
	}
	h.lookup()
	if bad := h.revoked(h.seen); bad != nil {
		return false, bad
	}
	plain := keysOf(h.lines, "")
	if holds(plain, h.seen) != nil {
		return true, nil
	}
	if len(plain) > 0 {
		return false, h.changed(h.seen, plain)
	}
	return false, nil
}

// follow parses what was appended to a file since it was read. One that became shorter was edited, and is parsed again.
func (db *knownHosts) follow(f *os.File, size int64) error {
	db.mu.Lock()
	end := db.ends[f.Name()]
	if size < end.size {
		end = fileEnd{}
		db.ends[f.Name()] = end
	}
	db.mu.Unlock()
	if size == end.size {
		return nil
	}
	text := make([]byte, size-end.size)
	if _, err := f.ReadAt(text, end.size); err != nil {
		return err
	}
	db.add(f.Name(), text)
	return nil
}

// append writes one line, in one write, and remembers it.
func (h *hostKeys) append(f *os.File, key ssh.PublicKey) error {
	if cert, ok := key.(*ssh.Certificate); ok {
		key = cert.Key
	}
	name := h.name
	if strings.ContainsAny(name, " \t\r\n,#*?!|") {
		return errors.New("the host's name cannot stand in known_hosts")
	}
	if h.cfg.yes("hashknownhosts") {
		name = knownhosts.HashHostname(name)
	}
	line := name + " " + key.Type() + " " + base64.StdEncoding.EncodeToString(key.Marshal()) + "\n"
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if st.Mode().IsRegular() && st.Size() > 0 {
		var last [1]byte
		if _, err := f.ReadAt(last[:], st.Size()-1); err == nil && last[0] != '\n' {
			line = "\n" + line
		}
	}
	if _, err := f.WriteString(line); err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		// Nothing can be read back, so the memory must do.
		h.db.mu.Lock()
		h.db.insert(&knownKey{patterns: []string{h.name}, key: key, file: f.Name()})
		h.db.mu.Unlock()
		return nil
	}
	return h.db.follow(f, st.Size()+int64(len(line)))
}
