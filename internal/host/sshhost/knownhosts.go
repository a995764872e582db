package sshhost

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
)

// knownHosts is known_hosts files, parsed once (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT). Plain names are looked up in a map:
// with ten thousand hosts a walk over all lines would cost more than the key exchange. A line that cannot be read counts as
// not being there, as with ssh; one bad line does not spoil a file.
type knownHosts struct {
	mu     sync.RWMutex
	plain  map[string][]*knownKey
	others []*knownKey // hashed names, wildcards
	ends   map[string]fileEnd
}

// fileEnd is how far a file has been read.
type fileEnd struct {
	size  int64
	lines int
}

// The markers of lines.
const (
	markerCA      = "cert-authority"
	markerRevoked = "revoked"
)

// knownKey is one line.
type knownKey struct {
	marker     string
	patterns   []string
	salt, hash []byte // of a hashed name
	key        ssh.PublicKey
	file       string
	line       int
}

// readKnownHosts reads those of the files that are there.
func readKnownHosts(files []string) (*knownHosts, error) {
	db := &knownHosts{plain: map[string][]*knownKey{}, ends: map[string]fileEnd{}}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		db.add(name, text)
	}
	return db, nil
}

// add parses a file's text, or what came behind the part that was parsed before.
func (db *knownHosts) add(file string, text []byte) {
	db.mu.Lock()
	defer db.mu.Unlock()
	end := db.ends[file]
	end.size += int64(len(text))
	for line := range bytes.Lines(text) {
		end.lines++
		if k := parseKnownKey(line); k != nil {
			k.file, k.line = file, end.lines
			db.insert(k)
		}
	}
	db.ends[file] = end
}

func (db *knownHosts) insert(k *knownKey) {
	if k.hash != nil || slices.ContainsFunc(k.patterns, func(p string) bool { return strings.ContainsAny(p, "*?!") }) {
		db.others = append(db.others, k)
		return
	}
	for _, name := range k.patterns {
		db.plain[name] = append(db.plain[name], k)
	}
}

// parseKnownKey returns nil for a comment and for a line that cannot be read.
func parseKnownKey(line []byte) *knownKey {
	marker, hosts, key, _, _, err := ssh.ParseKnownHosts(line)
	if err != nil || len(hosts) == 0 {
		return nil
	}
	k := &knownKey{marker: marker, key: key}
	if strings.HasPrefix(hosts[0], "|") {
		return k.hashed(hosts)
	}
	for _, h := range hosts {
		k.patterns = append(k.patterns, strings.ToLower(h))
	}
	return k
}

// hashed takes "|1|salt|hash": HMAC-SHA1 of the name with the salt as key (OpenSSH hostfile.c).
func (k *knownKey) hashed(hosts []string) *knownKey {
	parts := strings.Split(hosts[0], "|")
	if len(hosts) != 1 || len(parts) != 4 || parts[1] != "1" {
		return nil
	}
	var err1, err2 error
	k.salt, err1 = base64.StdEncoding.DecodeString(parts[2])
	k.hash, err2 = base64.StdEncoding.DecodeString(parts[3])
	if err1 != nil || err2 != nil || len(k.hash) != sha1.Size || len(k.salt) > sha1.BlockSize {
		return nil
	}
	return k
}

func (k *knownKey) matches(name string) bool {
	if k.hash != nil {
		return hashOf(k.salt, name) == [sha1.Size]byte(k.hash)
	}
	return matchHost(k.patterns, name)
}

// hashOf is HMAC-SHA1 (RFC 2104) of a name, without the allocations of crypto/hmac: each host is held against every hashed
// line that nobody has matched yet.
func hashOf(salt []byte, name string) [sha1.Size]byte {
	var pad [sha1.BlockSize]byte
	var room [512]byte // on the stack, for every name that DNS has
	buf := room[:0]
	copy(pad[:], salt)
	for i := range pad {
		buf = append(buf, pad[i]^0x36)
	}
	inner := sha1.Sum(append(buf, name...))
	buf = buf[:0]
	for i := range pad {
		buf = append(buf, pad[i]^0x5c)
	}
	return sha1.Sum(append(buf, inner[:]...))
}

// lookup finds the lines for a name ("host", "[host]:port"). A hashed line is one name's alone, so the one that matches
// becomes a plain one.
func (db *knownHosts) lookup(name string) []*knownKey {
	db.mu.RLock()
	found := slices.Clone(db.plain[name])
	var opened []*knownKey
	for _, k := range db.others {
		if !k.matches(name) {
			continue
		}
		found = append(found, k)
		if k.hash != nil {
			opened = append(opened, k)
		}
	}
	db.mu.RUnlock()
	if len(opened) > 0 {
		db.open(name, opened)
	}
	return found
}

func (db *knownHosts) open(name string, lines []*knownKey) {
	db.mu.Lock()
	defer db.mu.Unlock()
	for _, k := range lines {
		if i := slices.Index(db.others, k); i >= 0 {
			db.others = slices.Delete(db.others, i, i+1)
			db.plain[name] = append(db.plain[name], k)
		}
	}
}

// keysOf are the plain keys among lines.
func keysOf(lines []*knownKey, marker string) []*knownKey {
	var out []*knownKey
	for _, k := range lines {
		if k.marker == marker {
			out = append(out, k)
		}
	}
	return out
}

func sameKey(a, b ssh.PublicKey) bool { return bytes.Equal(a.Marshal(), b.Marshal()) }

func holds(lines []*knownKey, key ssh.PublicKey) *knownKey {
	for _, k := range lines {
		if sameKey(k.key, key) {
			return k
		}
	}
	return nil
}
