// A web site with Go's own TLS, for the client's. It listens on a free port of 127.0.0.1, prints it, and serves one
// connection: a line is answered with a JSON object of what was agreed on, and then the same line as often as it says.
//
//	peer-tls CHAIN KEY VERSION(1.2|1.3) SUITE(number, 0: any) CURVE(number, 0: any) ask|-
//
// The key log, in the format of NSS, goes to standard error.
package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	if err := serve(os.Args[1:]); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

func configured(words []string) (*tls.Config, error) {
	identity, err := tls.LoadX509KeyPair(words[0], words[1])
	if err != nil {
		return nil, err
	}
	version := map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}[words[2]]
	config := &tls.Config{
		Certificates: []tls.Certificate{identity},
		MinVersion:   version,
		MaxVersion:   version,
		NextProtos:   []string{"http/1.1"},
		KeyLogWriter: os.Stderr,
	}
	if suite, _ := strconv.ParseUint(words[3], 0, 16); suite != 0 {
		config.CipherSuites = []uint16{uint16(suite)}
	}
	if curve, _ := strconv.ParseUint(words[4], 0, 16); curve != 0 {
		config.CurvePreferences = []tls.CurveID{tls.CurveID(curve)}
	}
	if words[5] == "ask" {
		config.ClientAuth = tls.RequestClientCert
	}
	return config, nil
}

func serve(words []string) error {
	if len(words) != 6 {
		return fmt.Errorf("six words are needed")
	}
	config, err := configured(words)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	plain, err := listener.Accept()
	if err != nil {
		return err
	}
	_ = plain.SetDeadline(time.Now().Add(20 * time.Second))
	connection := tls.Server(plain, config)
	if err := connection.Handshake(); err != nil {
		return err
	}
	return answered(connection)
}

func answered(connection *tls.Conn) error {
	state := connection.ConnectionState()
	agreed := map[string]any{
		"version": state.Version, "suite": state.CipherSuite, "protocol": state.NegotiatedProtocol,
		"name": state.ServerName, "resumed": state.DidResume, "certificates": len(state.PeerCertificates),
	}
	reader := bufio.NewReader(connection)
	line, err := reader.ReadString('\n')
	if err != nil {
		return err
	}
	if err := json.NewEncoder(connection).Encode(agreed); err != nil {
		return err
	}
	times, err := strconv.Atoi(strings.Fields(line)[0])
	if err != nil {
		return err
	}
	if _, err := io.WriteString(connection, strings.Repeat(line, times)); err != nil {
		return err
	}
	if err := connection.CloseWrite(); err != nil {
		return err
	}
	// The client's goodbye, and nothing else.
	rest, err := io.ReadAll(reader)
	if err != nil || len(rest) != 0 {
		return fmt.Errorf("%d bytes behind the line: %w", len(rest), err)
	}
	fmt.Println("done")
	return nil
}
