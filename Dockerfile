# tfstyle app in a container: docker build -t tfstyle . && docker compose up
FROM python:3.12-slim

COPY . /source
RUN pip install --no-cache-dir "/source[app]" && rm -r /source && useradd --create-home --uid 1000 painter \
    && install -d -o painter /pictures
USER painter
WORKDIR /pictures
VOLUME /pictures
# Matplotlib and TensorFlow write caches; the root of the file system may be read-only.
ENV MPLCONFIGDIR=/tmp TF_CPP_MIN_LOG_LEVEL=3
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/healthz', timeout=4)"]
ENTRYPOINT ["tfstyle", "app", "--host", "0.0.0.0", "--no-browser", "-o", "/pictures"]
