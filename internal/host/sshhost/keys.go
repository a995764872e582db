package sshhost

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
)

// keyring holds the key files of a run, each read once.
type keyring struct {
	mu    sync.Mutex
	files map[string]*keyFile
}

// keyFile is a private key on disk, and what stands beside it.
type keyFile struct {
	path   string
	signer ssh.Signer    // nil: not to be used as it is
	public ssh.PublicKey // nil: not known
	cert   *ssh.Certificate
	why    string // why there is no signer: for people
	absent bool
	token  bool // the private half is on a FIDO token
}

func (r *keyring) load(path string) *keyFile {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k := r.files[path]; k != nil {
		return k
	}
	k := readKeyFile(path)
	r.files[path] = k
	return k
}

func readKeyFile(path string) *keyFile {
	k := &keyFile{path: path, public: readPublic(path + ".pub")}
	if cert, ok := readPublic(path + "-cert.pub").(*ssh.Certificate); ok {
		k.cert = cert
	}
	text, err := os.ReadFile(path)
	if err != nil {
		k.absent = errors.Is(err, fs.ErrNotExist)
		k.why = path + ": " + cause(err)
		return k
	}
	if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && st.Mode().Perm()&0o077 != 0 && isPrivate(text) {
		k.why = path + ": others may read it, so it is not used (chmod 600)"
		return k
	}
	k.parse(text)
	return k
}

func isPrivate(text []byte) bool { return strings.Contains(string(text), "PRIVATE KEY-----") }

func (k *keyFile) parse(text []byte) {
	signer, err := ssh.ParsePrivateKey(text)
	var locked *ssh.PassphraseMissingError
	switch {
	case err == nil:
		k.signer, k.public = signer, signer.PublicKey()
	case errors.As(err, &locked):
		if locked.PublicKey != nil {
			k.public = locked.PublicKey
		}
		k.why = k.path + " has a passphrase"
	case !isPrivate(text):
		// The public half alone names a key of the agent.
		if key, _, _, _, err := ssh.ParseAuthorizedKey(text); err == nil {
			k.public = key
			k.why = k.path + " is a public key, and the agent does not have its private half"
			return
		}
		k.why = k.path + " is no private key"
	default:
		k.token = k.public != nil && strings.HasPrefix(k.public.Type(), "sk-")
		k.why = k.path + ": " + printable(strings.TrimPrefix(err.Error(), "ssh: "), 100)
	}
}

// readPublic reads a public key or certificate; nil when there is none.
func readPublic(path string) ssh.PublicKey {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		return nil
	}
	return key
}

// cause is an error of a file without the operation and the path.
func cause(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return err.Error()
}

// identity is a key to log in with.
type identity struct {
	signer ssh.Signer
	from   string // the file, or "agent"
}

// identities are the keys to try for one host, in their order, and why others cannot be used.
type identities struct {
	list  []identity
	why   []string
	agent string // why the agent gave no key
	token bool   // a key on a FIDO token is configured, and no agent has it
}

// identities collects keys in ssh's order (sshconnect2.c, pubkey_prepare): certificates, then the agent's keys that are
// configured, the agent's others, and the other key files. Those of the inventory go before all.
func (c *Client) identities(ctx context.Context, t Target, cfg *config) (*identities, error) {
	ids := &identities{}
	if v := cfg.one("pubkeyauthentication"); v == "no" || v == "false" {
		return ids, nil
	}
	first, files, certs, err := c.keyFiles(t, cfg)
	if err != nil {
		return nil, err
	}
	held, why := c.agentKeys(ctx, cfg)
	configured := append(slices.Clone(first), files...)
	ids.addCertificates(certs, configured, held)
	ids.addFiles(first, held)
	for _, a := range held {
		if slices.ContainsFunc(configured, func(k *keyFile) bool { return k.public != nil && sameKey(plain(a.signer.PublicKey()), k.public) }) {
			ids.add(a)
		}
	}
	if !cfg.yes("identitiesonly") {
		for _, a := range held {
			ids.add(a)
		}
	}
	ids.addFiles(files, held)
	for _, k := range configured {
		if k.why != "" && (!k.absent || cfg.explicit("identityfile") || slices.Contains(first, k)) && !ids.has(k.public) {
			ids.why = append(ids.why, k.why)
			ids.token = ids.token || k.token
		}
	}
	ids.agent = why
	return ids, nil
}

// keyFiles loads the inventory's and the configuration's.
func (c *Client) keyFiles(t Target, cfg *config) (first, files []*keyFile, certs []*ssh.Certificate, err error) {
	for _, path := range t.KeyFiles {
		if path, err = cfg.expand(path); err != nil {
			return nil, nil, nil, err
		}
		first = append(first, c.keys.load(path))
	}
	paths, err := cfg.files("identityfile")
	if err != nil {
		return nil, nil, nil, err
	}
	for _, path := range paths {
		files = append(files, c.keys.load(path))
	}
	if paths, err = cfg.files("certificatefile"); err != nil {
		return nil, nil, nil, err
	}
	for _, path := range paths {
		if cert, ok := c.keys.load(path).public.(*ssh.Certificate); ok {
			certs = append(certs, cert)
		}
	}
	return first, files, certs, nil
}

// plain is the key under a certificate.
func plain(key ssh.PublicKey) ssh.PublicKey {
	if cert, ok := key.(*ssh.Certificate); ok {
		return cert.Key
	}
	return key
}

// addCertificates joins certificates with the private keys that they are for.
func (ids *identities) addCertificates(certs []*ssh.Certificate, files []*keyFile, held []identity) {
	for _, k := range files {
		if k.cert != nil {
			certs = append(certs, k.cert)
		}
	}
	for _, cert := range certs {
		signer, from := signerOf(cert.Key, files, held)
		if signer == nil {
			continue
		}
		if s, err := ssh.NewCertSigner(cert, signer); err == nil {
			ids.add(identity{s, from + " with a certificate"})
		}
	}
}

func signerOf(key ssh.PublicKey, files []*keyFile, held []identity) (ssh.Signer, string) {
	for _, k := range files {
		if k.signer != nil && sameKey(k.public, key) {
			return k.signer, k.path
		}
	}
	for _, a := range held {
		if sameKey(a.signer.PublicKey(), key) {
			return a.signer, a.from
		}
	}
	return nil, ""
}

// addFiles adds the keys of files; one with a passphrase where the agent has it.
func (ids *identities) addFiles(files []*keyFile, held []identity) {
	for _, k := range files {
		if k.public == nil {
			continue
		}
		if signer, from := signerOf(k.public, []*keyFile{k}, held); signer != nil {
			ids.add(identity{signer, from})
		}
	}
}

func (ids *identities) has(key ssh.PublicKey) bool {
	return key != nil && slices.ContainsFunc(ids.list, func(i identity) bool { return sameKey(i.signer.PublicKey(), key) })
}

func (ids *identities) add(i identity) {
	if !ids.has(i.signer.PublicKey()) {
		ids.list = append(ids.list, i)
	}
}

// login is one attempt to log in: it offers the keys and notes what became of them.
type login struct {
	ctx     context.Context
	ids     *identities
	allowed []string // PubkeyAcceptedAlgorithms
	offered []identity
	used    identity
	failed  error // what an agent said
	heard   int   // bytes of banners
}

// signers is the callback of ssh.PublicKeysCallback.
func (l *login) signers() ([]ssh.Signer, error) {
	var out []ssh.Signer
	for _, id := range l.ids.list {
		s, ok := l.restrict(id.signer)
		if !ok {
			continue
		}
		l.offered = append(l.offered, id)
		out = append(out, &noted{MultiAlgorithmSigner: s, login: l, id: id})
	}
	return out, nil
}

// restrict leaves a key the signature algorithms that are allowed: for RSA never SHA-1 unless it is configured by name.
func (l *login) restrict(s ssh.Signer) (ssh.MultiAlgorithmSigner, bool) {
	as, ok := s.(ssh.AlgorithmSigner)
	if !ok {
		return nil, false
	}
	keyType := s.PublicKey().Type()
	algorithms := keyAlgorithms(plain(s.PublicKey()).Type())
	if plain(s.PublicKey()).Type() == ssh.KeyAlgoRSA && slices.Contains(l.allowed, ssh.KeyAlgoRSA) {
		algorithms = append(algorithms, ssh.KeyAlgoRSA)
	}
	if l.allowed != nil {
		certified := keyType != plain(s.PublicKey()).Type()
		algorithms = slices.DeleteFunc(algorithms, func(a string) bool {
			return !slices.ContainsFunc(l.allowed, func(b string) bool { return b == a && !certified || certified && strings.HasPrefix(b, a+"-cert-v01@") })
		})
	}
	m, err := ssh.NewSignerWithAlgorithms(as, algorithms)
	return m, err == nil
}

// noted signs, and notes that the server liked the key. An agent that does not answer must not hold up more than its host.
type noted struct {
	ssh.MultiAlgorithmSigner
	login *login
	id    identity
}

func (n *noted) SignWithAlgorithm(rand randReader, data []byte, algorithm string) (*ssh.Signature, error) {
	n.login.used = n.id
	if !strings.HasPrefix(n.id.from, fromAgent) {
		return n.MultiAlgorithmSigner.SignWithAlgorithm(rand, data, algorithm)
	}
	type result struct {
		sig *ssh.Signature
		err error
	}
	done := make(chan result, 1)
	go func() {
		sig, err := n.MultiAlgorithmSigner.SignWithAlgorithm(rand, data, algorithm)
		done <- result{sig, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			n.login.failed = fmt.Errorf("the agent does not sign with %s: %s", describe(plain(n.id.signer.PublicKey())), printable(r.err.Error(), 100))
		}
		return r.sig, r.err
	case <-n.login.ctx.Done():
		n.login.failed = errors.New("the agent does not answer")
		return nil, n.login.failed
	}
}
