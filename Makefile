# make demo    set up, run the penguins pipeline end to end, say where the report and the pushed model are
# make test    set up, run every test
# make check   lint, format and types
# make test-faults, make test-faults-long
#              what the store promises under faults, counted; in minutes, in some hours
# make test-kills
#              whole pipeline runs, killed and run again; a part of test-faults-long, in minutes
# make rehearse
#              the compiled penguins pipeline, task by task as on Kubeflow and on Vertex AI; in minutes
# make compile the penguins' pipeline.yaml to kubeflow/gated-penguins.yaml, and its recurring run beside it
# make image-context, make test-image
#              what kubeflow/Dockerfile copies; its install steps replayed without Docker, and a task run there
# make bench   benchmarks beside their peers: one JSON object a line, a table and plots in dist/bench; half an hour
# make bench-check
#              the same, tiny and once: only whether they run
# make bench-year
#              a year of monthly retraining on all flights of 2013, a JSON object a month and a table; about an hour

.PHONY: setup setup-peers demo test test-faults test-faults-long test-kills rehearse compile setup-strace setup-mysql check format bench bench-check bench-year constraints image-context test-image clean

export TF_CPP_MIN_LOG_LEVEL ?= 3
unexport PYTHONDONTWRITEBYTECODE

setup:
	@.ci/setup

demo: setup
	@.venv/bin/gated-pipeline run data/penguins/pipeline.yaml --root runs/penguins
	@echo "next: source .venv/bin/activate && checkpoint-gate why runs/penguins/store --step 238"

test: setup setup-peers
	@.venv/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-faults: setup setup-strace
	@cd tests && ../.venv/bin/python -m faults

test-faults-long: setup setup-strace setup-mysql
	@cd tests && ../.venv/bin/python -m faults --long

test-kills: setup
	@cd tests && ../.venv/bin/python -m faults b14

rehearse: setup
	@.venv/bin/python -m pytest -m rehearsal tests/test_kubeflow_rehearse_penguins.py

# The image and the root stand for those of whoever compiles it for themselves.
compile: setup
	@.venv/bin/gated-pipeline compile data/penguins/pipeline.yaml --image registry.example/checkpoint-gate:0.1.0 \
	    --root gs://your-bucket/penguins --output kubeflow/gated-penguins.yaml
	@.venv/bin/gated-pipeline schedule kubeflow create kubeflow/gated-penguins.yaml --root gs://your-bucket/penguins \
	    --cron "0 3 * * *" --dry-run 2>/dev/null \
	    | .venv/bin/python -c 'import json, sys; print(json.dumps(json.load(sys.stdin)[-1], indent=2))' \
	    > kubeflow/recurring-run.json

# Some faults are real processes killed at their system calls. Without strace that figure is not measured, and says so.
setup-strace:
	@.ci/setup-programs strace strace || echo "Without strace B18 cannot be measured." >&2

# Others are a pipeline's metadata in MySQL. Without a server that part of the figure is not measured, and says so.
setup-mysql:
	@.ci/setup-programs "mariadbd mariadb-install-db mariadb mariadb-dump" mariadb-server-core mariadb-client || echo "Without MariaDB the part of B12 on MySQL cannot be measured." >&2

# Libraries that the tests compare with and that do not fit beside TFX.
setup-peers: setup
	@.ci/setup-peers

check: setup
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy

format: setup
	@.venv/bin/ruff check --fix
	@.venv/bin/ruff format

bench: setup setup-peers
	@.venv/bin/python tests/benchmarks/run.py

bench-check: setup setup-peers
	@.venv/bin/python tests/benchmarks/run.py --quick

bench-year: setup
	@.venv/bin/python tests/benchmarks/year/flights.py

# For pip: the versions that the tests ran with.
constraints: setup
	@.venv/bin/uv export --quiet --locked --no-hashes --no-dev --no-emit-project --output-file dist/constraints.txt
	@echo dist/constraints.txt

# The wheel, and the versions of all that it needs, for the image. EXTRAS=s3 for s3:// and minio:// instead of gs://.
EXTRAS ?= gs
image-context: setup
	@rm -rf dist/image
	@.venv/bin/uv build --quiet --wheel --out-dir dist/image
	@.venv/bin/uv export --quiet --locked --no-hashes --no-dev --no-emit-project $(addprefix --extra ,$(EXTRAS)) \
		--output-file dist/image/constraints.txt
	@ls dist/image/*

# That the wheel installs with the constraints, and works outside the checkout, is a part of it.
test-image: image-context
	@.venv/bin/python .ci/replay-image

clean:
	rm -rf .venv dist runs
