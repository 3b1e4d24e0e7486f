# One static program and nothing else; the context holds it as `program`.
FROM scratch
COPY program /program
COPY --chown=65532:65532 data /data
COPY --chown=65532:65532 tmp /tmp
USER 65532:65532
ENTRYPOINT ["/program"]
