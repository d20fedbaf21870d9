#!/bin/sh
# Keys, a certificate and a password for the MongoDB of compose.yaml, good for a day and for this machine alone.
set -e
umask 077
cd "$(dirname "$0")"
rm -rf secrets && mkdir secrets
openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=magflow-test-ca -keyout secrets/ca.key -out secrets/ca.pem
openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout secrets/server.key -out secrets/server.csr
echo 'subjectAltName = DNS:localhost, IP:127.0.0.1' > secrets/names
openssl x509 -req -days 1 -in secrets/server.csr -CA secrets/ca.pem -CAkey secrets/ca.key -CAcreateserial \
  -extfile secrets/names -out secrets/server.crt
cat secrets/server.key secrets/server.crt > secrets/server.pem
openssl rand -base64 756 > secrets/key
openssl rand -hex 16 | tr -d '\n' > secrets/password
echo "mongodb://magflow:$(cat secrets/password)@localhost:27417/?authSource=admin&directConnection=true&tls=true&tlsCAFile=$PWD/secrets/ca.pem" > uri
