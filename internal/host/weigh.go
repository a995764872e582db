package host

import "io"

// Weigher may be what an answer is read from. It is told of bytes as they are unpacked, and its error ends the reading: so what
// many answers hold together can be bounded, which no limit of a single one does.
type Weigher interface {
	Weigh(n int) error
}

// Weighed reads what is unpacked from an answer, and tells the answer's [Weigher], if it is one.
func Weighed(unpacked, answer io.Reader) io.Reader {
	if w, ok := answer.(Weigher); ok {
		return &weighed{unpacked, w}
	}
	return unpacked
}

type weighed struct {
	io.Reader
	weigher Weigher
}

func (w *weighed) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if n > 0 {
		if heavy := w.weigher.Weigh(n); heavy != nil {
			return 0, heavy
		}
	}
	return n, err
}
