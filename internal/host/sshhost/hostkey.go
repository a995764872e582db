package sshhost

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"
)

// hostKeys decides about one host's key.
type hostKeys struct {
	policy HostKeyPolicy
	cfg    *config
	db     *knownHosts
	name   string      // as in known_hosts
	lines  []*knownKey // of the name
	bare   []*knownKey // of the name without its port, which count where the key is the same
	accept func(key ssh.PublicKey) error
	banned []bannedKey
	seen   ssh.PublicKey // what the server showed
	bad    *Error        // why it was refused
}

// bannedKey is a key of a RevokedHostKeys file.
type bannedKey struct {
	key  ssh.PublicKey
	from string
}

func (h *hostKeys) lookup() {
	name, bare := h.cfg.knownAs()
	h.name, h.lines = name, h.db.lookup(name)
	if bare != "" {
		h.bare = h.db.lookup(bare)
	}
}

// algorithms are the host key algorithms to offer: those of the keys that are known first, so that a server with several
// keys shows one that can be checked.
func (h *hostKeys) algorithms() []string {
	offered := chosen(h.cfg, "hostkeyalgorithms", ssh.SupportedAlgorithms().HostKeys, ssh.InsecureAlgorithms().HostKeys)
	var first []string
	for _, k := range slices.Concat(h.lines, h.bare) {
		if k.marker == markerCA {
			first = append(first, certAlgorithms(offered)...)
		}
	}
	for _, k := range slices.Concat(h.lines, h.bare) {
		if k.marker == "" {
			first = append(first, keyAlgorithms(k.key.Type())...)
		}
	}
	hasCA := len(h.authorities()) > 0
	var out []string
	for _, a := range slices.Concat(first, offered) {
		// Without an authority a certificate could only be refused, while the plain key may be known.
		if slices.Contains(offered, a) && !slices.Contains(out, a) && (hasCA || !isCertAlgorithm(a)) {
			out = append(out, a)
		}
	}
	return out
}

// authorities are those of the name, with its port or without.
func (h *hostKeys) authorities() []*knownKey {
	return keysOf(slices.Concat(h.lines, h.bare), markerCA)
}

func isCertAlgorithm(a string) bool { return strings.Contains(a, "-cert-v01@") }

func certAlgorithms(offered []string) []string {
	return slices.DeleteFunc(slices.Clone(offered), func(a string) bool { return !isCertAlgorithm(a) })
}

// keyAlgorithms are the signature algorithms of a type of key (RFC 8332 for RSA), without SHA-1.
func keyAlgorithms(keyType string) []string {
	switch keyType {
	case ssh.KeyAlgoRSA:
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	case ssh.CertAlgoRSAv01:
		return []string{ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01}
	}
	return []string{keyType}
}

// check is the ssh.HostKeyCallback. It keeps the reason of a refusal, which the library's error wraps beyond recognition.
func (h *hostKeys) check(_ string, _ net.Addr, key ssh.PublicKey) error {
	h.seen = key
	h.bad = h.judge(key)
	if h.bad != nil {
		return h.bad.Err
	}
	return nil
}

func (h *hostKeys) judge(key ssh.PublicKey) *Error {
	if err := h.revoked(key); err != nil {
		return err
	}
	if err := h.tooSmall(key); err != nil {
		return err
	}
	if cert, ok := key.(*ssh.Certificate); ok {
		if holds(h.authorities(), cert.SignatureKey) != nil {
			return h.certificate(cert)
		}
		key = cert.Key // of an authority that is not known; the key itself may be
	}
	known := keysOf(h.lines, "")
	switch {
	case holds(known, key) != nil || holds(keysOf(h.bare, ""), key) != nil:
		return nil
	case len(known) > 0:
		return h.changed(key, known)
	}
	return h.unknown(key)
}

// revoked looks for the key, and for the authority behind it.
func (h *hostKeys) revoked(key ssh.PublicKey) *Error {
	keys := []ssh.PublicKey{key}
	if cert, ok := key.(*ssh.Certificate); ok {
		keys = append(keys, cert.Key, cert.SignatureKey)
	}
	for _, key := range keys {
		for _, k := range slices.Concat(h.lines, h.bare) {
			if k.marker == markerRevoked && sameKey(k.key, key) {
				return h.fail("The key may be in the wrong hands. Do not remove the line before the host has another key.",
					"%s is revoked: %s:%d", describe(key), k.file, k.line)
			}
		}
		for _, b := range h.banned {
			if sameKey(b.key, key) {
				return h.fail("", "%s is revoked: %s", describe(key), b.from)
			}
		}
	}
	return nil
}

// tooSmall holds RSA keys to RequiredRSASize.
func (h *hostKeys) tooSmall(key ssh.PublicKey) *Error {
	least, _ := strconv.Atoi(h.cfg.one("requiredrsasize"))
	if cert, ok := key.(*ssh.Certificate); ok {
		key = cert.Key
	}
	if c, ok := key.(ssh.CryptoPublicKey); ok {
		if r, ok := c.CryptoPublicKey().(*rsa.PublicKey); ok && r.N.BitLen() < least {
			return h.fail("", "%s has %d bits, and RequiredRSASize asks for %d", describe(key), r.N.BitLen(), least)
		}
	}
	return nil
}

func (h *hostKeys) certificate(cert *ssh.Certificate) *Error {
	if cert.CertType != ssh.HostCert {
		return h.fail("", "the certificate is not one of a host")
	}
	allowed := h.cfg.list("casignaturealgorithms")
	if len(allowed) > 0 && !slices.Contains(allowed, cert.Signature.Format) {
		return h.fail("", "the certificate is signed with %s, which CASignatureAlgorithms does not allow", printable(cert.Signature.Format, 60))
	}
	principal := h.cfg.hostname()
	if alias := h.cfg.set("hostkeyalias"); alias != "" {
		principal = alias
	}
	if len(cert.ValidPrincipals) == 0 {
		return h.fail("Sign the host's key for its name: ssh-keygen -s CA -h -n NAME ...", "the certificate names no host")
	}
	if err := new(ssh.CertChecker).CheckCert(strings.ToLower(principal), cert); err != nil {
		return h.fail("", "host certificate: %s", printable(strings.TrimPrefix(err.Error(), "ssh: "), 200))
	}
	return nil
}

func (h *hostKeys) changed(key ssh.PublicKey, known []*knownKey) *Error {
	var have []string
	for _, k := range known {
		have = append(have, fmt.Sprintf("%s:%d has %s", k.file, k.line, describe(k.key)))
	}
	if len(have) > 3 {
		have = append(have[:3], fmt.Sprintf("and %d more", len(have)-3))
	}
	return h.fail(
		fmt.Sprintf("Somebody may sit between you and the host. If its key was changed on purpose: ssh-keygen -f %s -R '%s'", known[0].file, h.name),
		"CHANGED: the server shows %s, %s", describe(key), strings.Join(have, ", "))
}

func (h *hostKeys) unknown(key ssh.PublicKey) *Error {
	if h.policy != AcceptNew {
		return h.fail("Compare the fingerprint and note the key in known_hosts, or let --host-key-policy accept-new note it.",
			"%s of %s is not known", describe(key), printable(h.name, 120))
	}
	if err := h.accept(key); err != nil {
		var refused *Error
		if errors.As(err, &refused) {
			return refused
		}
		return h.fail("", "note the key: %v", err)
	}
	return nil
}

func (h *hostKeys) fail(hint, format string, a ...any) *Error {
	return &Error{Stage: StageHostKey, Err: fmt.Errorf(format, a...), Hint: hint}
}

// describe names a key as ssh does: type and fingerprint.
func describe(key ssh.PublicKey) string {
	return printable(key.Type(), 60) + " " + ssh.FingerprintSHA256(key)
}

// readRevoked reads RevokedHostKeys as a list of keys. A binary revocation list is for ssh itself.
func readRevoked(file string) ([]bannedKey, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("RevokedHostKeys: %w", err)
	}
	var out []bannedKey
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil {
			return nil, fmt.Errorf("RevokedHostKeys: %s:%d: %w", file, number, err)
		}
		out = append(out, bannedKey{key, fmt.Sprintf("%s:%d", file, number)})
	}
	return out, nil
}

// isKRL says whether a file is a binary revocation list (OpenSSH PROTOCOL.krl).
func isKRL(file string) (bool, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("RevokedHostKeys: %w", err)
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	var magic [8]byte
	n, _ := f.Read(magic[:])
	return string(magic[:n]) == "SSHKRL\n\x00", nil
}
