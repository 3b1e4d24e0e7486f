# The operator of one release with the Spark that release submits with (not ours: a mismatch of the two is what users
# have, so it is what the tests must have). Only what spark-submit needs to create a driver pod is kept of Spark.
ARG UV_IMAGE
ARG JRE_IMAGE

FROM ${UV_IMAGE} AS spark
ARG SPARK_VERSION
RUN --mount=type=secret,id=ca --mount=type=cache,target=/root/.cache/uv \
    ca=/run/secrets/ca; [ ! -s "$ca" ] || export SSL_CERT_FILE="$ca"; \
    UV_LINK_MODE=copy /opt/uv/bin/uv pip install --quiet --no-deps --python "$(command -v python3)" \
      --target /pip "pyspark==${SPARK_VERSION}"
# spark-submit in cluster mode starts no SparkContext: no SQL, no ML, no Hive, no state store, no native networking
RUN mkdir /spark && mv /pip/pyspark/bin /pip/pyspark/jars /spark/ && cd /spark/jars && rm -f \
      JTransforms* RoaringBitmap* algebra_* antlr4-* arrow-* arpack* avro* blas* breeze* cats-* datanucleus-* derby* \
      flatbuffers* hive-* icu4j* ion-java* janino* jakarta.xml* jaxb-* jodd* jpam* jta* lapack* libfb303* libthrift* \
      netty-*-osx-* netty-*-windows-* netty-*-aarch_64* netty-*-riscv64* netty-codec-native-quic* netty-tcnative-* \
      orc-* paranamer* parquet-* pmml* rocksdbjni* scala-compiler* \
      shims-* spark-catalyst* spark-connect* spark-ganglia* spark-graphx* spark-hive* spark-mllib* spark-pipelines* \
      spark-repl* spark-sql* spark-streaming* spark-variant* spark-yarn* spire* stax-api* super-csv* tink* univocity*

FROM ${JRE_IMAGE}
COPY --from=spark /spark /opt/spark
COPY program /usr/bin/spark-operator
RUN install -d -o 185 -g 185 /etc/k8s-webhook-server/serving-certs
USER 185:185
ENTRYPOINT ["tini", "-s", "--", "/usr/bin/spark-operator"]
