# `make` alone lists what there is.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
LOCAL  := $(BIN)/python -m local
ENV    ?= dev
TAG    ?= v1
MODEL  ?= build/model
PORT   ?= 8080

export SAM_CLI_TELEMETRY = 0
export WHY  # read by the shell as it was written, quotes and all
export PYTHONPATH = .:functions:inference_image

.DEFAULT_GOAL := help
.PHONY: help setup demo up down env status push inbox invoke interrupt capacity findings train serve bench bench-big bench-rollout check fmt test test-fast test-engine deploy pipeline push-image rollback release-held redrive docs lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | expand -t 12

setup: $(VENV)/.ready ## a virtual environment with the locked packages (the other targets do it by themselves)
$(VENV)/.ready: requirements.txt
	@"$(PYTHON)" -c "import sys; sys.exit(sys.version_info[:2] < (3, 11))" || { echo "Tidegate needs Python 3.11 or newer: install it, or say make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --requirement requirements.txt
	@touch $@

demo: $(VENV)/.ready ## the whole loop on this machine, no account needed: CSV in, served model out
	@$(BIN)/python -m local.demo

up: $(VENV)/.ready ## the same cloud, left running to try by hand
	@$(LOCAL) up

down: $(VENV)/.ready ## end it; nothing is left behind
	@$(LOCAL) down

env: $(VENV)/.ready ## settings for your shell: eval "$(make -s env)"
	@$(LOCAL) env

status: $(VENV)/.ready ## what of the local cloud runs
	@$(LOCAL) status || true

push: $(VENV)/.ready ## build the inference image and push it into the local cloud: make push TAG=v2 (or a trainer: FOLDER=examples/… [INTO=its-repository])
	@$(LOCAL) push $(TAG) $(if $(FOLDER),--folder $(FOLDER)) $(if $(INTO),--into $(INTO))

inbox: $(VENV)/.ready ## the mails that SNS would have sent
	@$(LOCAL) inbox

invoke: $(VENV)/.ready ## one function on its sample event, by sam local (needs a container engine): make invoke F=OnImagePushed [EVENT=event.json]
	@$(if $(F),,echo "Say which function: make invoke F=OnImagePushed (ls functions/on_*.py)" >&2; exit 2;) \
	$(LOCAL) invoke "$(F)" $(if $(EVENT),--event "$(EVENT)")

interrupt: $(VENV)/.ready ## announce a Spot interruption to the machine that trains, or only recommend to move: make interrupt [REBALANCE=1]
	@$(LOCAL) interrupt $(if $(REBALANCE),--rebalance)

capacity: $(VENV)/.ready ## which machines the local cloud refuses: make capacity [REFUSE='spot:*:*:InsufficientInstanceCapacity' | CLEAR=1]
	@$(LOCAL) capacity $(if $(CLEAR),--clear) $(if $(REFUSE),--refuse $(foreach refusal,$(REFUSE),'$(refusal)'))

findings: $(VENV)/.ready ## what scans find locally: make findings [IMAGE=v2 ADD='CVE-2026-1:CRITICAL:zlib' | IMAGE=v2 STATUS=FAILED | CLEAR=1]
	@$(LOCAL) findings $(if $(IMAGE),'$(IMAGE)') $(if $(STATUS),--status $(STATUS)) $(if $(CLEAR),--clear) $(if $(ADD),--add $(foreach found,$(ADD),'$(found)'))

train: $(VENV)/.ready ## a model from a CSV on this machine, without AWS: make train CSV=reviews.csv OUT=build/model [TEST= RECIPE= ENCODER= KNOBS=]
	@$(if $(and $(CSV),$(OUT)),,echo "Say which file and where to: make train CSV=reviews.csv OUT=build/model" >&2; exit 2;) \
	$(BIN)/python -m trainer.alone "$(CSV)" "$(OUT)" $(if $(TEST),--test "$(TEST)") $(if $(RECIPE),--recipe $(RECIPE)) \
	  $(if $(ENCODER),--encoder "$(ENCODER)") $(if $(KNOBS),--knobs '$(KNOBS)')

serve: $(VENV)/.ready ## a model folder as a page and an API on this machine: make serve MODEL=build/model [PORT=8080]
	@PORT=$(PORT) $(BIN)/python inference_image/serve --model "$(MODEL)"

bench: $(VENV)/.ready ## the model beside scikit-learn, NB-SVM and fastText, same rows, and bench-rollout: make bench [CSV=reviews.csv TEST=other.csv QUICK=1]
	@$(BIN)/python -m bench $(if $(CSV),--csv "$(CSV)") $(if $(TEST),--test "$(TEST)") $(if $(QUICK),--quick)
	@$(BIN)/python -m bench.rollout $(if $(QUICK),--rollouts 1)

bench-big: $(VENV)/.ready ## five million rows of 3 GB through the trainer: rows a second, memory, and whether it adds up
	@$(BIN)/python -m bench.big

bench-rollout: $(VENV)/.ready ## from a push to all tasks on it and the old ones gone, in a local cloud, beside the floor that the settings imply
	@$(BIN)/python -m bench.rollout

check: $(VENV)/.ready ## the one gate: style, types, layers, template, documents
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy functions trainer inference_image local tools bench tests
	PYTHONPATH=functions $(BIN)/lint-imports --no-cache
	$(BIN)/cfn-lint template.yaml pipeline.yaml
	$(BIN)/sam validate --lint --region us-east-1
	$(BIN)/zizmor --offline --pedantic --quiet .github/workflows
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/python -m tools.reference --check

fmt: $(VENV)/.ready ## mend what can be mended by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: $(VENV)/.ready ## all tests; those that need a container engine or a browser say so when they are skipped
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

test-engine: $(VENV)/.ready ## the tests that need a container engine; says what to do when none answers
	@$(BIN)/python -m tests.engine.ready
	$(BIN)/python -m pytest -m engine --durations 10

test-fast: $(VENV)/.ready ## without the tests that start parts of the local cloud
	$(BIN)/python -m pytest -m "not e2e and not browser and not engine"

deploy: $(VENV)/.ready ## build and deploy to AWS: make deploy ENV=dev|staging|prod
	$(BIN)/sam build
	$(BIN)/sam deploy --config-env $(ENV) $(if $(ARTIFACTS),--no-resolve-s3 --s3-bucket "$(ARTIFACTS)" --s3-prefix tidegate-$(ENV)) \
	  $(if $(SERVICE_ROLE),--role-arn "$(SERVICE_ROLE)" --no-confirm-changeset)

pipeline: $(VENV)/.ready ## what GitHub needs to deploy without a key, once an environment: make pipeline ENV=dev GITHUB=owner/name
	@$(if $(GITHUB),,echo "Say which repository: make pipeline ENV=$(ENV) GITHUB=owner/name (docs/ci-cd.md)" >&2; exit 2)
	$(BIN)/sam deploy --template-file pipeline.yaml --stack-name ci-tidegate-$(ENV) --capabilities CAPABILITY_NAMED_IAM \
	  --no-resolve-s3 --no-confirm-changeset --no-fail-on-empty-changeset \
	  --parameter-overrides Stack=tidegate-$(ENV) GitHubEnvironment=$(ENV) GitHubRepository=$(GITHUB)

push-image: ## build the inference image and push it to ECR: make push-image IMAGE=….amazonaws.com/tidegate-dev/inference TAG=v7
	@tools/push_image.sh "$(IMAGE)" "$(TAG)"

rollback: $(VENV)/.ready ## back to the last good release, or to release TO: make rollback STACK=tidegate-dev WHY='…' [TO=3 DRY_RUN=1]
	@$(BIN)/python -m tools.decide rollback $(or $(STACK),tidegate-$(ENV)) --why "$$WHY" $(if $(TO),--release "$(TO)") $(if $(DRY_RUN),--dry-run)

release-held: $(VENV)/.ready ## let a release go that its scan holds or refused: make release-held N=7 STACK=tidegate-dev WHY='…' [DRY_RUN=1]
	@$(BIN)/python -m tools.decide release-held $(or $(STACK),tidegate-$(ENV)) --why "$$WHY" $(if $(N),--release "$(N)") $(if $(DRY_RUN),--dry-run)

redrive: $(VENV)/.ready ## send what lies in the dead-letter queues again: make redrive STACK=tidegate-dev [DRY_RUN=1]
	@$(BIN)/python -m tools.redrive $(or $(STACK),tidegate-$(ENV)) $(if $(DRY_RUN),--dry-run)

docs: $(VENV)/.ready ## write the generated tables anew
	$(BIN)/python -m tools.reference

lock: ## pin what requirements.in brings, in a fresh environment
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet --disable-pip-version-check --requirement requirements.in
	{ echo "# Written by make lock from requirements.in."; build/lock/bin/pip freeze | sed 's/+cpu//'; } > requirements.txt

clean: ## forget all that was built (ends a running local cloud first)
	-@test -x $(BIN)/python && $(LOCAL) down
	rm -rf build .aws-sam $(VENV)
