"""A certificate authority for tests, made with the openssl program: Pki(folder).issue("name") and so on.

Every identity is a folder with key.pem, cert.pem and ca.pem (whom it trusts), which is what msad and DCMTK's tools take.
"""
import hashlib
import os
import ssl
import subprocess


def openssl(*args, folder=None, text=None):
    done = subprocess.run(['openssl', *args], input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder,
                          text=True, check=False)
    assert done.returncode == 0, 'openssl %s: %s' % (' '.join(args), done.stdout)
    return done.stdout


class Identity:
    def __init__(self, folder):
        self.folder = folder
        self.key, self.certificate, self.ca = (os.path.join(folder, n + '.pem') for n in ('key', 'cert', 'ca'))

    def fingerprint(self):
        with open(self.certificate, encoding='ascii') as file:
            return hashlib.sha256(ssl.PEM_cert_to_DER_cert(file.read())).hexdigest()

    def tool(self):
        """Options of DCMTK's tools, clients and servers alike."""
        return ['+tls', self.key, self.certificate, '+cf', self.ca]


class Pki:
    CONFIG = '''[ca]
default_ca = here
[here]
dir = .
database = index
new_certs_dir = .
serial = serial
default_md = sha256
policy = any
unique_subject = no
rand_serial = yes
copy_extensions = copy
[any]
commonName = supplied
[req]
distinguished_name = name
[name]
[root]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
'''

    def __init__(self, folder, name='Test CA'):
        self.folder = folder
        os.makedirs(folder)
        for file, text in (('index', ''), ('ca.cnf', self.CONFIG)):
            with open(os.path.join(folder, file), 'w', encoding='ascii') as out:
                out.write(text)
        openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', 'root.key',
                '-out', 'root.pem', '-subj', '/CN=' + name, '-days', '30', '-config', 'ca.cnf', '-extensions', 'root',
                folder=folder)
        self.root = os.path.join(folder, 'root.pem')

    def issue(self, name, names='DNS:localhost,IP:127.0.0.1', days=10, expired=False, trusts=None):
        """An identity whose certificate this authority signs. trusts: another authority, of its peers."""
        folder = os.path.join(self.folder, name)
        os.makedirs(folder)
        made = Identity(folder)
        request = os.path.join(folder, 'request.pem')
        openssl('req', '-new', '-utf8', '-newkey', 'rsa:2048', '-nodes', '-keyout', made.key, '-out', request, '-subj', '/CN=' + name,
                '-config', 'ca.cnf', '-addext', 'subjectAltName=' + names, folder=self.folder)
        when = ['-startdate', '20200101000000Z', '-enddate', '20210101000000Z'] if expired else ['-days', str(days)]
        openssl('ca', '-batch', '-notext', '-config', 'ca.cnf', '-cert', 'root.pem', '-keyfile', 'root.key', '-in', request,
                '-out', made.certificate, *when, folder=self.folder)
        os.chmod(made.key, 0o600)
        with open((trusts or self).root, encoding='ascii') as source, open(made.ca, 'w', encoding='ascii') as out:
            out.write(source.read())
        return made
