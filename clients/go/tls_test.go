// Encrypted connections, with certificates made here.

package motet_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	motet "motet.dev/go"
	motetv1 "motet.dev/go/motet/v1"
)

// certified makes a pair of PEM files that an authority has signed; nil signs for itself.
func certified(t *testing.T, name string, by *tls.Certificate) (certFile, keyFile string, pair tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: by == nil, BasicConstraintsValid: true,
	}
	parent, signer := form, any(key)
	if by != nil {
		parent, signer = by.Leaf, by.PrivateKey
	}
	certificate, err := x509.CreateCertificate(rand.Reader, form, parent, key.Public(), signer)
	must(t, err)
	written, err := x509.MarshalECPrivateKey(key)
	must(t, err)
	folder := t.TempDir()
	certFile, keyFile = filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
	must(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}), 0o600))
	must(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: written}), 0o600))
	pair, err = tls.LoadX509KeyPair(certFile, keyFile)
	must(t, err)
	return certFile, keyFile, pair
}

func TestTLSTakesAnAuthorityAndACertificateOfOnesOwnFromFiles(t *testing.T) {
	caFile, _, authority := certified(t, "authority", nil)
	_, _, served := certified(t, "server", &authority)
	certFile, keyFile, _ := certified(t, "client", &authority)
	trusted := x509.NewCertPool()
	trusted.AddCert(authority.Leaf)
	server := (&fake{get: func(context.Context, *motetv1.GetRunRequest) (*motetv1.GetRunResponse, error) {
		return &motetv1.GetRunResponse{Run: &motetv1.Run{RunId: "run-1"}}, nil
	}}).start(t, &tls.Config{
		Certificates: []tls.Certificate{served}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: trusted,
	})

	config, err := motet.LoadTLS(caFile, certFile, keyFile)
	must(t, err)
	run, err := server.client(t, motet.WithTLS(config), motet.WithToken("secret")).Get(t.Context(), "run-1")
	must(t, err)
	equal(t, run.RunId, "run-1", "run")

	nameless, err := motet.LoadTLS(caFile, "", "")
	must(t, err)
	for what, options := range map[string][]motet.Option{
		"without TLS":           nil,
		"with unknown roots":    {motet.WithTLS(nil)},
		"without a certificate": {motet.WithTLS(nameless)},
	} {
		_, err := server.client(t, options...).Get(t.Context(), "run-1")
		equal(t, errors.Is(err, motet.ErrUnavailable), true, what)
	}
}

func TestTLSFilesThatAreNotThereOrNotPEMAreRefused(t *testing.T) {
	certFile, keyFile, _ := certified(t, "client", nil)
	empty := filepath.Join(t.TempDir(), "empty.pem")
	must(t, os.WriteFile(empty, nil, 0o600))
	for _, files := range [][3]string{{"missing.pem", "", ""}, {empty, "", ""}, {"", certFile, ""}, {"", keyFile, certFile}} {
		if _, err := motet.LoadTLS(files[0], files[1], files[2]); err == nil {
			t.Errorf("%v were taken", files)
		}
	}
}
