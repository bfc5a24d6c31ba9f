# `make demo` and `make test` need git, python3 (3.11 or newer) and make; they set up .venv themselves.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
LOWEST := .venv-lowest
DOCS := .venv-docs
TORCH := .venv-torch
EXPORT := .venv-export
# Whatever the environment says, Python keeps compiled modules: a run of all tests imports them in dozens of processes.
export PYTHONDONTWRITEBYTECODE :=

# All tests run on TensorFlow; these alone: they are the same on every backend, or start a process on each.
ONCE := analysis benchmarks crash data datasets docs experiments models plots report storage \
	backends/test_backends.py backends/test_skipped.py criteria/test_criteria.py \
	masking/test_files.py masking/test_unmasked.py pruning/test_densities.py pruning/test_ranking.py \
	$(foreach name,branches observation runner schedules tasks,search/test_$(name).py) \
	system/test_machine.py system/test_printing.py training/test_threads.py \
	$(foreach name,arrays cli mask packaging seeds without_tensorflow,test_$(name).py)
# What depends on the backend: all that `make test` runs on JAX; `make test-all` runs everything but ONCE there.
ON_JAX := $(foreach name,engines/test_engines engines/test_batched test_training test_evaluation,training/$(name).py) \
	$(foreach name,search_engines resume search,search/test_$(name).py) pruning/test_model_derivatives.py \
	$(foreach name,backend_derivatives protocol,backends/test_$(name).py) \
	backends/test_rowwise.py::test_it_trains_as_the_dense_program \
	layers/test_masked_layers.py::test_gradient_is_zero_where_pruned_and_that_of_keras_elsewhere \
	training/engines/test_fit.py::test_a_stream_in_its_own_order_gives_every_step_its_batch_and_begins_again \
	training/test_augmentation.py::test_every_step_draws_by_the_seed_and_evaluations_do_not \
	callbacks/test_gradual.py::test_the_next_update_is_made_with_the_new_mask \
	callbacks/test_dynamic.py::test_what_grows_starts_at_zero_and_the_optimizer_remembers_nothing_of_it

# In two processes, as compiling and starting keep but one core busy; they and what they start take less than 10 GB. A
# file stays in one of them, for its fixtures; in their order the longest, crash, comes early. Tests that PYTEST_ARGS
# choose run once, in one process, on TensorFlow or what KERAS_BACKEND says.
PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder
define tests
	$(if $(PYTEST_ARGS),,KERAS_BACKEND=jax $(RUN) -m pytest $(PARALLEL) $(1) $(2))
	$(if $(PYTEST_ARGS),,KERAS_BACKEND=tensorflow) $(RUN) -m pytest $(if $(PYTEST_ARGS),,$(PARALLEL)) $(1) $(PYTEST_ARGS)
endef

# Masks, pruning, layers, one search and its files; on JAX gradients and the search.
QUICK := criteria/test_criteria.py layers/test_masked_layers.py masking/test_conversion.py masking/test_prunable.py \
	pruning/test_densities.py pruning/test_ranking.py search/test_branches.py search/test_search.py search/test_tasks.py \
	storage/test_levels.py test_arrays.py test_mask.py test_packaging.py test_seeds.py training/test_training_loop.py
QUICK_ON_JAX := search/test_search.py \
	layers/test_masked_layers.py::test_gradient_is_zero_where_pruned_and_that_of_keras_elsewhere
define quick
	KERAS_BACKEND=jax $(1) -m pytest -n 2 --dist loadfile -m "not slow" $(QUICK_ON_JAX:%=tests/%)
	KERAS_BACKEND=tensorflow $(1) -m pytest -n 2 --dist loadfile -m "not slow" $(QUICK:%=tests/%)
endef

# What people use without a search, and one search: the same tests on PyTorch, JAX and TensorFlow.
ON_EVERY := callbacks layers masking criteria pruning compacting export backends \
	training/test_training.py training/test_training_loop.py \
	training/test_evaluation.py training/test_optimizers.py training/test_weighted_examples.py \
	training/engines/test_engines.py search/test_search.py search/test_resume.py

.PHONY: demo quick lowest test test-all test-backends test-export lint types docs bench bench-embedding gpu clean
.DEFAULT_GOAL := demo

# The stamp is newer than what it was made from, so a second set-up takes no time. A pip of 2025 shows how many packages
# it has installed; Python 3.11 brings an older one, which is silent for a minute.
$(INSTALLED): setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --upgrade 'pip >= 25.1'
	@echo "Installs TensorFlow, JAX and the tools for tests into $(VENV): 1 GB to download, a few minutes."
	$(RUN) -m pip install --disable-pip-version-check -e '.[dev]'
	touch $@

$(DOCS)/.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv --clear $(DOCS)
	$(DOCS)/bin/python -m pip install --disable-pip-version-check -e '.[docs]'
	touch $@

# Every lower bound of setup.cfg becomes the version that is installed.
$(LOWEST)/.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv --clear $(LOWEST)
	sed -n 's/^ *\([A-Za-z0-9_-]*\) >= /\1==/p' setup.cfg > $(LOWEST)/bounds.txt
	$(LOWEST)/bin/python -m pip install --disable-pip-version-check -c $(LOWEST)/bounds.txt -e '.[dev]'
	touch $@

# The pinned build first: setup.cfg's range alone would take the newest, which brings several GB for GPUs.
$(TORCH)/.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(TORCH)
	$(TORCH)/bin/python -m pip install --disable-pip-version-check 'torch == 2.13.0'
	$(TORCH)/bin/python -m pip install --disable-pip-version-check -e '.[dev,torch]'
	touch $@

$(EXPORT)/.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(EXPORT)
	$(EXPORT)/bin/python -m pip install --disable-pip-version-check -e '.[dev,litert,onnx]'
	touch $@

demo: $(INSTALLED)  ## lottery tickets in the digits that come with scikit-learn: a table, run.h5, figures
	$(RUN) -m experiments.digits_lenet_fcn

quick: $(INSTALLED)  ## what a change to the core needs, in a minute and a half
	$(call quick,$(RUN))

lowest: $(LOWEST)/.installed  ## the same with the lowest versions that setup.cfg allows, in an environment of their own
	$(call quick,$(LOWEST)/bin/python)

test: $(INSTALLED)  ## every test but the slow ones, on JAX and on TensorFlow
	$(call tests,-m "not slow",$(ON_JAX:%=tests/%))

test-all: $(INSTALLED)  ## every test
	$(call tests,,$(ONCE:%=--ignore=tests/%))

test-backends: $(TORCH)/.installed  ## the library on PyTorch, JAX and TensorFlow, in an environment of their own
	KERAS_BACKEND=torch OMP_NUM_THREADS=1 $(TORCH)/bin/python -m pytest $(PARALLEL) -m "not slow" $(ON_EVERY:%=tests/%)
	KERAS_BACKEND=jax $(TORCH)/bin/python -m pytest $(PARALLEL) -m "not slow" $(ON_EVERY:%=tests/%)
	KERAS_BACKEND=tensorflow $(TORCH)/bin/python -m pytest $(PARALLEL) -m "not slow" $(ON_EVERY:%=tests/%)

test-export: $(EXPORT)/.installed  ## files for LiteRT and ONNX, with their runtimes, in an environment of their own
	KERAS_BACKEND=tensorflow $(EXPORT)/bin/python -m pytest tests/export

lint: $(INSTALLED)
	$(RUN) -m ruff check .

types: $(INSTALLED)
	$(RUN) -m mypy

docs: $(DOCS)/.installed  ## the site of the documentation, docs/_build/html/docs/index.html: a few minutes
	$(DOCS)/bin/python -m sphinx -W --keep-going -b html -c docs . docs/_build/html

bench: $(INSTALLED)  ## speed, tickets together, embedding step, memory: an hour, up to 9 GB
	$(RUN) -m benchmarks speed tickets embedding memory_levels

bench-embedding: $(INSTALLED)  ## whether a step by rows is the dense optimiser's: up to 11 GB
	$(RUN) -m benchmarks agreement

gpu: $(INSTALLED)  ## everything that waits for a GPU, as far as it is not done; GPU_ARGS="--minutes 25" stops in time
	$(RUN) -m benchmarks gpu $(GPU_ARGS)

clean:  ## everything built or cached; .venv and runs stay
	rm -rf build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
