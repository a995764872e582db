package sshtest

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"hash/crc32"
	"io"
	"strings"
)

// Packed is an answer whose packing was done once: only the nonce is put in for each question, so that a server costs little beside who
// asks it.
type Packed struct {
	answer *Answer
	pieces [][]byte // of the packed stream, each ending at a byte; between them stands the nonce
	parts  [][]byte // of what is packed; between them stands the nonce as well
}

const (
	gzipHead  = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\x03"
	lastBlock = "\x01\x00\x00\xff\xff"
	// A nonce that was in the stream not longer ago than this is referred to. Where that is, 32 KiB, a reference cannot reach.
	nearby = 16 << 10
)

// Pack packs the answer for many questions.
func (a *Answer) Pack() *Packed {
	for _, near := range []int{nearby, 0} {
		p := &Packed{answer: a, parts: bytes.Split(a.body, []byte(a.nonce))}
		p.pack(near)
		if p.right() {
			return p
		}
	}
	panic("an answer that cannot be packed")
}

// pack lets the packer see, in the nonce's place, what is nowhere else: so it refers to a nonce by a nonce, and to nothing else by one.
func (p *Packed) pack(near int) {
	stand := make([]byte, len(p.answer.nonce))
	for i := range stand {
		stand[i] = byte(0x80 + i)
	}
	var before, text []byte
	put := func() {
		var b bytes.Buffer
		z, _ := flate.NewWriterDict(&b, flate.BestCompression, before) // the level is one
		_, _ = z.Write(text)
		_ = z.Flush()
		p.pieces = append(p.pieces, b.Bytes())
		before, text = append(append(before, text...), stand...), nil
	}
	for i, part := range p.parts {
		switch {
		case i == 1 || i > 1 && len(text)+len(part) >= near:
			put()
		case i > 1:
			text = append(text, stand...)
		}
		text = append(text, part...)
	}
	put()
}

// right reports whether what is put together is what it should be. A packer may spell out a nonce that it could refer to.
func (p *Packed) right() bool {
	for _, digit := range []string{"5", "a"} {
		nonce := strings.Repeat(digit, len(p.answer.nonce))
		z, err := gzip.NewReader(bytes.NewReader(p.gzip(nonce)))
		if err != nil {
			return false
		}
		if body, err := io.ReadAll(z); err != nil || !bytes.Equal(body, p.answer.Body(nonce)) {
			return false
		}
	}
	return true
}

// gzip is the answer to a question with that nonce, of as many digits as the first had.
func (p *Packed) gzip(nonce string) []byte {
	// A block that is not compressed: its length, the same inverted (RFC 1951, 3.2.4).
	block := binary.LittleEndian.AppendUint16([]byte{0}, uint16(len(nonce)))
	block = append(binary.LittleEndian.AppendUint16(block, ^uint16(len(nonce))), nonce...)
	out := append([]byte(gzipHead), bytes.Join(p.pieces, block)...)
	out = append(out, lastBlock...)
	sum, size := uint32(0), 0
	for i, part := range p.parts {
		if i > 0 {
			sum, size = crc32.Update(sum, crc32.IEEETable, []byte(nonce)), size+len(nonce)
		}
		sum, size = crc32.Update(sum, crc32.IEEETable, part), size+len(part)
	}
	out = binary.LittleEndian.AppendUint32(out, sum)
	return binary.LittleEndian.AppendUint32(out, uint32(size))
}

// Canned is a handler as [Answer.Canned] is. A script that comes as the command, in whatever form, is answered with the nonce of
// the first question.
func (p *Packed) Canned(command string, in io.Reader, out, errs io.Writer) uint32 {
	nonce := p.answer.nonce
	if strings.HasSuffix(command, "sh -s") {
		var err error
		if nonce, err = Greet(in, out); err != nil {
			_, _ = io.WriteString(errs, err.Error()+"\n")
			return 2
		}
	}
	if _, err := out.Write(append([]byte(Marker(nonce, "gzip")), p.gzip(nonce)...)); err != nil {
		return 1
	}
	return 0
}
