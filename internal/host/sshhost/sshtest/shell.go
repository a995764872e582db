package sshtest

import (
	"errors"
	"io"
	"os/exec"
)

// Shell is a handler that runs what a real node would: the command, by the machine's sh.
func Shell(command string, in io.Reader, out, errs io.Writer) uint32 {
	cmd := exec.Command("sh", "-c", command)
	cmd.Stdout, cmd.Stderr = out, errs
	pipe, err := cmd.StdinPipe()
	if err != nil || cmd.Start() != nil {
		return 255
	}
	// Wait would wait for the end of standard input if it were given as a reader.
	go func() {
		_, _ = io.Copy(pipe, in)
		pipe.Close()
	}()
	var exit *exec.ExitError
	if err := cmd.Wait(); errors.As(err, &exit) {
		return uint32(max(0, exit.ExitCode()))
	} else if err != nil {
		return 255
	}
	return 0
}
