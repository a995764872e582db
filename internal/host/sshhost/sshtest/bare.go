package sshtest

import (
	"bytes"
	"net"
	"os"
	"testing"

	"golang.org/x/crypto/ssh"
)

// Bare is the least that the library can do with a server, which ours is measured against: key exchange, login, one command.
type Bare struct{ conf *ssh.ClientConfig }

// NewBare logs in as root with the key in a file, at a server with the public key (one line, as in authorized_keys).
func NewBare(t testing.TB, keyFile, public string) Bare {
	t.Helper()
	text, err := os.ReadFile(keyFile)
	check(t, err)
	signer, err := ssh.ParsePrivateKey(text)
	check(t, err)
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(public))
	check(t, err)
	return Bare{&ssh.ClientConfig{
		User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.FixedHostKey(key), HostKeyAlgorithms: []string{key.Type()},
	}}
}

// Run sends the script to a shell of the server at the address, "host:port", and returns the answer: the script goes out and the
// answer comes in, as in a reading.
func (b Bare) Run(address string, script []byte) ([]byte, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	inner, channels, requests, err := ssh.NewClientConn(conn, "", b.conf)
	if err != nil {
		conn.Close()
		return nil, err
	}
	c := ssh.NewClient(inner, channels, requests)
	defer c.Close()
	session, err := c.NewSession()
	if err != nil {
		return nil, err
	}
	session.Stdin = bytes.NewReader(script)
	return session.Output("sh -s")
}
